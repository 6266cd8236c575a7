"""A run over a folder that is stopped ends soon, leaves nothing half-written, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medseg.core.records import read_json
from medseg.io import write_volume
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan

COUNT = 40


def statuses_in(path: Path) -> list[str]:
    return [case["status"] for case in read_json(path)["cases"]]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_prediction_goes_on_later(number: signal.Signals, code: int, tmp_path: Path) -> None:
    write_model(tmp_path / "model", folds=(0,), patch_size=(32, 32, 32))
    for seed in range(COUNT):
        write_volume(tmp_path / "in" / f"scan_{seed:02d}.nii.gz", make_scan(seed=seed, shape=(40, 40, 30))[0])
    output = tmp_path / "out"
    words = ["predict", tmp_path / "in", output, "--model", tmp_path / "model", "--device", "cpu", "--no-mirroring"]
    # Started in the background, as by some CI, Python ignores the first of these signals.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", begin + "from medseg.cli import main; main()", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and len(list(output.glob("scan*.nii.gz"))) < 2:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "not begun in" in errors
    assert list(output.rglob(".tmp*")) == []
    done = statuses_in(output / "run.json")
    assert 2 <= len(done) < COUNT
    assert set(done) == {"done"}
    assert len(list(output.glob("*.nii.gz"))) == len(done)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    again = statuses_in(output / "run.json")
    assert (again.count("skipped"), again.count("done")) == (len(done), COUNT - len(done))
