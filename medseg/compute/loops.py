"""Compiled loops, where numpy and torch are not enough."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from medseg.compute.lean_imports import import_without

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compile_loop(loop: Loop, **options: Any) -> Loop:
    """Compile a loop that other threads may run beside, once for all runs where there is a folder to keep it in."""
    with import_without("scipy.linalg"):  # for products of matrices inside loops; ours have none
        from numba import njit

        importlib.import_module("numba.np.arraymath")  # which asks for it, else when the first loop runs

    try:
        compiled: Any = njit(cache=True, nogil=True, **options)(loop)
    except RuntimeError:  # a read-only installation without a home folder: numba knows no place for its cache
        compiled = njit(nogil=True, **options)(loop)
    return cast(Loop, compiled)
