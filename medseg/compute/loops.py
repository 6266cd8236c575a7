"""Compiled loops, where numpy and torch are not enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compile_loop(loop: Loop, **options: Any) -> Loop:
    """Compile a loop that other threads may run beside, once for all runs where there is a folder to keep it in."""
    from numba import njit

    try:
        compiled: Any = njit(cache=True, nogil=True, **options)(loop)
    except RuntimeError:  # a read-only installation without a home folder: numba knows no place for its cache
        compiled = njit(nogil=True, **options)(loop)
    return cast(Loop, compiled)
