"""Children that crash, hang, eat memory or talk rubbish: each ends in one error, and the next request is answered."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from medseg.compute.child import _IDLE, ChildError, Limits, ask_child, end_children

SCRIPT = """
import os, signal, sys, time
from medseg.compute.child import serve

def answer(request):
    what = request["what"]
    if what == "crash":
        os.kill(os.getpid(), getattr(signal, request["signal"]))
    if what == "leave":
        sys.exit(5)
    if what == "sleep":
        time.sleep(60)
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if what == "eat":
        return {"size": len(bytearray(1 << 33))}, b""
    if what == "print":
        print("a library's chatter", flush=True)
        os.write(1, b"more of it")
    if what == "rubbish":
        os.write(int(request["line"]), b"x" * 5000 + b"\\n")
    return {"process": os.getpid(), "length": len(what)}, bytes(range(256)) * request.get("times", 0)

serve(answer)
"""
LIMITS = Limits(seconds=20, memory_bytes=1 << 30, answer_bytes=1 << 22)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "child.py"
    path.write_text(SCRIPT)
    yield path
    end_children()


def test_a_child_answers_again_and_again(script):
    first, content = ask_child(script, {"what": "hello", "times": 5000}, LIMITS)
    assert first["length"] == 5
    np.testing.assert_array_equal(content, np.tile(np.arange(256, dtype=np.uint8), 5000))
    second, nothing = ask_child(script, {"what": "hello"}, LIMITS)
    assert second["process"] == first["process"]
    assert nothing.size == 0


def test_what_a_library_prints_is_no_answer(script):
    assert ask_child(script, {"what": "print"}, LIMITS)[0]["length"] == 5


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT", "SIGBUS"])
def test_a_crash_is_named_and_the_next_request_is_answered(script, name):
    process = ask_child(script, {"what": "hello"}, LIMITS)[0]["process"]
    with pytest.raises(ChildError, match=f"ended by {name}") as caught:
        ask_child(script, {"what": "crash", "signal": name}, LIMITS)
    assert caught.value.code == "died"
    assert ask_child(script, {"what": "hello"}, LIMITS)[0]["process"] != process


def test_a_child_that_leaves_is_named(script):
    with pytest.raises(ChildError, match="ended with status 5"):
        ask_child(script, {"what": "leave"}, LIMITS)


@pytest.mark.parametrize("what", ["sleep", "stop"])
def test_a_child_that_hangs_or_is_stopped_is_ended(script, what):
    began = time.monotonic()
    with pytest.raises(ChildError, match="longer than 1 s") as caught:
        ask_child(script, {"what": what}, LIMITS._replace(seconds=1))
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 15
    assert ask_child(script, {"what": "hello"}, LIMITS)[0]["length"] == 5


def test_a_child_that_asks_for_too_much_memory_is_ended(script):
    with pytest.raises(ChildError, match="memory") as caught:
        ask_child(script, {"what": "eat"}, LIMITS)
    assert caught.value.code == "memory"


def test_an_answer_that_is_too_large_is_none(script):
    with pytest.raises(ChildError, match="an answer that is none"):
        ask_child(script, {"what": "hello", "times": 1 << 20}, LIMITS)


def test_threads_have_children_of_their_own_and_keep_them(script):
    found = []

    def ask():
        found.append(ask_child(script, {"what": "hello"}, LIMITS)[0]["process"])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(_IDLE[script]) == len(set(found))


def test_a_child_that_was_killed_between_requests_is_replaced(script):
    process = ask_child(script, {"what": "hello"}, LIMITS)[0]["process"]
    os.kill(process, signal.SIGKILL)
    time.sleep(0.2)
    assert ask_child(script, {"what": "hello"}, LIMITS)[0]["process"] != process


def test_children_end_with_their_parent(script):
    program = (
        "from pathlib import Path\nimport os\n"
        "from medseg.compute.child import Limits, ask_child\n"
        f"found = ask_child(Path({str(script)!r}), dict(what='hello'), Limits(20, 1 << 30, 9))[0]\n"
        "print(found['process'], flush=True)\n"
        "os._exit(0)\n"
    )
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    for _ in range(100):
        try:
            os.kill(child, 0)
            state = Path(f"/proc/{child}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the child outlives its parent")
