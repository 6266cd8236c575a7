"""Imports without parts of a library that take long to load and that a command never uses.

Only the process of a command may leave them out (``allow_lean_imports``): a user's own program or plugin must find its
libraries whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_allowed = False


def allow_lean_imports() -> None:
    """Say that this process runs a command of ours, with no code of a user's in it."""
    global _allowed
    _allowed = True


@contextmanager
def import_without(*packages: str) -> Iterator[None]:
    """Let imports inside the block not find packages that the imported library can do without.

    They are found again after the block; what is loaded already stays.

    Args:
        packages: full names, such as ``scipy.linalg``.
    """
    hidden = [name for name in packages if _allowed and name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
