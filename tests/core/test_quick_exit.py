"""Ends of programs that leave their memory to the system."""

import os
import subprocess
import sys

import pytest

BEGIN = """
import atexit, sys, threading, time
from medseg.core.quick_exit import leave_quickly
class Memory:
    def __del__(self):
        sys.stderr.write("taken apart")
kept = Memory()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    lines = [f"    {line}" for line in program.strip().splitlines()]
    code = "\n".join([BEGIN, "with leave_quickly():", *lines])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("sys.exit()", 0),
        ("sys.exit(3)", 3),
        ("sys.exit(143)", 143),
        ("sys.exit('no such case')", 1),
        ("raise ValueError('no such case')", 1),
    ],
)
def test_exit_codes_are_python_s_own(program: str, code: int) -> None:
    done = run(program)
    own = subprocess.run([sys.executable, "-c", f"import sys\n{program}"], capture_output=True, text=True, check=False)
    assert done.returncode == own.returncode == code
    assert done.stderr.splitlines()[-1:] == own.stderr.splitlines()[-1:]
    assert "taken apart" not in done.stderr


def test_all_is_done_and_written_before() -> None:
    done = run(
        """
atexit.register(lambda: sys.stdout.write("registered. "))
def work():
    time.sleep(0.3)
    sys.stdout.write("thread. ")
threading.Thread(target=work).start()
sys.stdout.write("main. ")
"""
    )
    assert (done.stdout, done.stderr, done.returncode) == ("main. thread. registered. ", "", 0)


def test_what_cannot_be_written_shows_in_the_exit_code() -> None:
    code = f"{BEGIN}\nwith leave_quickly():\n    sys.stdin.read(); sys.stdout.write('x')"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=buffered,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 120
