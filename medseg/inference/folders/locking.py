"""One prediction at a time into a folder; parts of one folder go on beside each other."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from medseg.core.atomic import remove_leftovers
from medseg.core.locks import LOCK, hold_lock
from medseg.inference.folders.finished import Part

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextlib.contextmanager
def lock_output(output: Path, part: Part | None) -> Iterator[None]:
    """Be the only one that writes these masks, and remove what killed processes left half-written.

    Args:
        output: the folder of masks; made where missing.
        part: which part of the cases; None for all, which no part may be written beside.
    Returns:
        a context manager.
    Raises:
        ResourceError: another process writes the same masks there, with code ``in_use``; or the folder cannot be
            written.
    """
    if part is None:
        path, purpose = output / LOCK, "medseg predict"
        rivals = list(output.glob(f"{LOCK}-*-of-*[0-9]"))
    else:
        path, purpose = output / f"{LOCK}-{part[0]}-of-{part[1]}", f"medseg predict, part {part[0]} of {part[1]}"
        rivals = [output / LOCK]
    with hold_lock(path, purpose, rivals=rivals):
        remove_leftovers(output, deep=True, alone=part is None)
        yield


def locks_output(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function the only one that writes masks into its ``output``, or its ``part`` of them."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run_locked(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        given = signature.bind(*args, **options).arguments
        with lock_output(Path(given["output"]), given.get("part")):
            return function(*args, **options)

    return run_locked
