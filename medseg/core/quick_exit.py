"""A program's end without taking its modules apart: where PyTorch is among them that takes most of a second."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator

# Python's own exit code where what was printed cannot be written.
UNWRITTEN = 120


@contextlib.contextmanager
def leave_quickly() -> Iterator[None]:
    """Let the process leave its memory to the system once the program inside is over and Python ends.

    Threads are waited for as ever, whatever is registered with ``atexit`` from now on is done before, what was printed
    is written, and the exit code is the one it would have been.
    """
    codes = [0]
    atexit.register(_leave, codes)  # of what is registered the first comes last
    try:
        yield
    except SystemExit as end:
        codes[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except BaseException:
        codes[0] = 1
        raise


def _leave(codes: list[int]) -> None:
    code = codes[0] & 0xFF
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code or UNWRITTEN
    os._exit(code)
