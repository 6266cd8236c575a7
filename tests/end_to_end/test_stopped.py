"""A command that is stopped says so by its exit code and leaves nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medseg.core.records import read_json
from tests.end_to_end.scans import write_data_set


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_later(number: signal.Signals, code: int, tmp_path: Path) -> None:
    data, space = write_data_set(tmp_path / "data"), tmp_path / "workspace"
    words = ["run", str(data), "--workspace", str(space), "--folds", "0", "--configurations", "2d", "--device", "cpu"]
    # Started in the background, as by some CI, Python ignores the first of these signals.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", begin + "from medseg.cli import main; main()", *words, "--epochs", "500"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    log = space / "runs" / "2d" / "fold_0" / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.read_text("utf-8")):
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert list(space.rglob(".tmp*")) == []
    assert len(read_json(space / "prepared" / "2d" / "index.json")["cases"]) == 8
    assert not (space / "model").exists()
    again = [*command[:-1], "1"]
    ended = subprocess.run(again, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert (space / "report.html").is_file()
