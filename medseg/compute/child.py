"""Work that may crash, hang or eat all memory, in a disposable child process.

A child is a Python script that calls ``serve``. It is asked in lines of JSON and answers in a line of JSON and raw
bytes, so that nothing is pickled. It serves many requests; one that fails, dies, takes too long or asks for too much
memory is thrown away with its child, and the next request gets a new one. A child ends when its parent is gone.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

_PIECE_BYTES = 1 << 22

Answer: TypeAlias = tuple[Mapping[str, Any], memoryview | bytes]


class ChildError(Exception):
    """A child that gave no answer.

    Args:
        reason: what became of it, such as ``it was ended by SIGSEGV``.
        code: ``died``, ``timeout`` or ``memory``.
    """

    def __init__(self, reason: str, code: str) -> None:
        self.reason, self.code = reason, code
        super().__init__(reason)


class Limits(NamedTuple):
    """What a request may take.

    Args:
        seconds: wall-clock time.
        memory_bytes: beyond what the child holds already.
        answer_bytes: of raw bytes that it may answer with.
    """

    seconds: float
    memory_bytes: int
    answer_bytes: int


_IDLE: dict[Path, list[subprocess.Popen[bytes]]] = {}
_LOCK = threading.Lock()
# A process that was forked off would share its parent's pipes.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)


def ask_child(
    script: Path, request: Mapping[str, Any], limits: Limits, *, keep: bool = True
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """Have a child process do something; threads may ask at once, each has a child of its own.

    Args:
        script: a Python file that calls ``serve`` when it is run.
        request: what to do, as JSON can hold it.
        limits: what it may take.
        keep: whether the child may serve later requests too.
    Returns:
        the answer, and the raw bytes that came with it; none where there were none.
    Raises:
        ChildError: the child died, took too long, ran out of memory or answered what is no answer.
    """
    child = _take(script)
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(limits.seconds, stop)
    timer.daemon = True
    timer.start()
    sound = False
    try:
        answer, content = _exchange(child, {**request, "memory_bytes": limits.memory_bytes}, limits.answer_bytes)
        sound = answer.pop("failed", None) is None
        if not sound:
            raise ChildError("it ran out of memory", "memory")
        return answer, content
    except (OSError, ValueError, EOFError) as error:
        raise ChildError(*_name_end(child, late.is_set(), limits.seconds, error)) from None
    finally:
        timer.cancel()
        if sound and keep and not late.is_set():
            with _LOCK:
                _IDLE.setdefault(script, []).append(child)
        else:
            _end(child)


def _take(script: Path) -> subprocess.Popen[bytes]:
    with _LOCK:
        idle = _IDLE.get(script, [])
        while idle:
            child = idle.pop()
            if child.poll() is None:
                return child
            _end(child)
    paths = os.pathsep.join(filter(None, sys.path))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
    environment = {**os.environ, "PYTHONPATH": paths, **threads}
    # A session of its own, so that Ctrl-C reaches the parent alone, which then ends its children.
    return subprocess.Popen(
        [sys.executable, "-P", str(script)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _exchange(
    child: subprocess.Popen[bytes], request: Mapping[str, Any], most_bytes: int
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.flush()
    line = child.stdout.readline(1 << 20)
    if not line.endswith(b"\n"):
        raise EOFError
    answer = json.loads(line)
    size = answer.pop("bytes", None) if isinstance(answer, dict) else None
    if not isinstance(size, int) or not 0 <= size <= most_bytes:
        raise ValueError("an answer that is none")
    content = np.empty(size, np.uint8)
    view = content.data
    while view:
        count = child.stdout.readinto(view[:_PIECE_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]
    return answer, content


def _name_end(child: subprocess.Popen[bytes], late: bool, seconds: float, error: Exception) -> tuple[str, str]:
    if late:
        return f"it took longer than {seconds:.0f} s", "timeout"
    if isinstance(error, ValueError):
        return "it gave an answer that is none", "died"
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5)
    status = child.returncode
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-status).name}", "died"
    return f"it ended with status {status}", "died"


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5)


@atexit.register
def end_children() -> None:
    """End the children that wait for further requests."""
    with _LOCK:
        waiting = [child for children in _IDLE.values() for child in children]
        _IDLE.clear()
    for child in waiting:
        _end(child)


# From here on: the child.


def serve(answer: Callable[[dict[str, Any]], Answer]) -> None:
    """Answer requests until the parent closes the line; what a library prints goes nowhere.

    Args:
        answer: gives a dictionary that JSON can hold, and raw bytes; what it raises ends the child, but for
            MemoryError, which is answered.
    """
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            with limit_memory(request.pop("memory_bytes")):
                content, raw = answer(request)
        except MemoryError:
            content, raw = {"failed": "memory"}, b""
        view = memoryview(raw).cast("B")
        output.write(json.dumps({**content, "bytes": len(view)}).encode() + b"\n")
        _send(output, view)


def _send(output: IO[bytes], view: memoryview) -> None:
    for start in range(0, len(view), _PIECE_BYTES):
        output.write(view[start : start + _PIECE_BYTES])
    output.flush()


@contextlib.contextmanager
def limit_memory(count: int) -> Iterator[None]:
    """Let this process take at most ``count`` bytes more than it holds, where the system knows such limits (Linux)."""
    status = Path("/proc/self/statm")
    if not status.is_file():
        yield
        return
    import resource

    taken = int(status.read_text("ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    lower_limit("RLIMIT_CORE", 0)
    limit = taken + count
    with contextlib.suppress(ValueError, OSError):
        hard = before[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def lower_limit(kind: str, limit: int) -> None:
    """Lower one of this process's limits for good, by its name in ``resource``, where the system knows it."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    number = getattr(resource, kind)
    hard = resource.getrlimit(number)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(number, (limit, limit))
