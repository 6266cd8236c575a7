"""SIGTERM and Ctrl-C end a program soon, whatever its threads are doing, with exit code and one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Key derivation holds no lock of Python's, and takes longer than anybody waits.
BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PROGRAMS = {
    "waits": "print('ready', flush=True); time.sleep(600)",
    "computes_in_main_thread": f"print('ready', flush=True); {BUSY}",
    "computes_in_threads": (
        "pool = ThreadPoolExecutor(2)\n"
        f"    work = [pool.submit(lambda: {BUSY}) for _ in range(2)]\n"
        "    print('ready', flush=True)\n"
        "    work[0].result()"
    ),
    "swallows": (
        "try:\n        print('ready', flush=True)\n        time.sleep(600)\n"
        "    except BaseException:\n        print('caught')"
    ),
}
SCRIPT = """
import hashlib, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from medseg.core import atomic, interruption

interruption.PATIENCE_SECONDS = 1.0

def program():
    {program}

def write_and_run():
    with atomic.atomic_open(Path(sys.argv[1]) / "mask.nii.gz") as stream:
        stream.write(b"half of it")
        program()

interruption.run_stoppable(write_and_run, "the same command goes on")
"""


def start(name: str, folder: Path) -> subprocess.Popen[str]:
    script = SCRIPT.format(program=PROGRAMS[name])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_ends_soon_and_says_how_to_go_on(name: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    process = start(name, tmp_path)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert errors == f"medseg: stopped by {number.name}; the same command goes on\n"
    leftovers = sorted(path.name for path in tmp_path.iterdir())
    # Who swallows what the handler raised has its file written to the end.
    assert leftovers == (["mask.nii.gz"] if name == "swallows" else [])


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    process = start("computes_in_threads", tmp_path)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert errors.count("stopped by") == 1


def test_a_program_that_ends_by_itself_is_left_alone() -> None:
    script = (
        "import signal\nfrom medseg.core.interruption import run_stoppable\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "run_stoppable(lambda: print('done'), 'advice')\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
