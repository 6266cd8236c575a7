"""The command: how it begins, what stops it from beginning, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.listen.examples import send, wait_for, write_rules, write_series

MAIN = "from medseg.cli import main; main()"
WORDS = ["--ae-title", "MEDSEG", "--port", "0", "--device", "cpu"]


def command(folder: Path, *words: str) -> list[str]:
    paths = ["--rules", str(folder / "rules.json"), "--queue", str(folder / "queue")]
    return [sys.executable, "-m", "medseg", "listen", *WORDS, *paths, *words]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command(folder, *words), stdout=log, stderr=log, text=True, env=environment)


def read_port(folder: Path) -> int:
    log = folder / "log"
    wait_for(lambda: "listens on" in log.read_text(), 60)
    return int(log.read_text().partition(" port ")[2].partition(";")[0])


def run(
    folder: Path, *words: str, code: str = "from medseg.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    given = [sys.executable, "-c", code, *command(folder, *words)[3:]]
    return subprocess.run(given, capture_output=True, text=True, check=False)


def test_it_is_told_to_end_and_goes_on(tmp_path: Path, model: Path) -> None:
    write_rules(tmp_path / "rules.json", model)
    process = start(tmp_path, "--complete-after", "1h")
    try:
        port = read_port(tmp_path)
        assert send(port, write_series(tmp_path / "scan")) == [0] * 5
        assert (tmp_path / "queue").stat().st_mode & 0o077 == 0
        second = run(tmp_path)
        assert second.returncode == 2
        assert "the folder is in use by medseg listen" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    log = (tmp_path / "log").read_text()
    assert "stopped by SIGTERM; the same command goes on where it stopped" in log
    assert "Traceback" not in log
    again = start(tmp_path, "--complete-after", "1s")
    try:
        wait_for(lambda: any((tmp_path / "queue" / "done").iterdir()), 60)
    finally:
        again.send_signal(signal.SIGTERM)
    assert again.wait(30) == 143
    assert "1 receiving" in (tmp_path / "log").read_text()


def test_what_is_wrong_with_the_rules_is_one_line(tmp_path: Path, model: Path) -> None:
    write_rules(tmp_path / "rules.json", model)
    text = (tmp_path / "rules.json").read_text()
    (tmp_path / "rules.json").write_text(text.replace('"senders"', '"sender"'))
    ended = run(tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"medseg: {tmp_path / 'rules.json'}: ")
    assert "senders: Field required" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "queue").exists()


@pytest.mark.parametrize("package", ["pynetdicom", "dicomweb_client"])
def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, package: str) -> None:
    block = f"import sys; sys.modules[{package!r}] = None; {MAIN}"
    ended = run(tmp_path, code=block)
    assert ended.returncode == 2
    assert ended.stderr == f"medseg: the package {package} is not installed. pip install 'medseg[pacs]'\n"


def test_a_title_that_dicom_does_not_know(tmp_path: Path) -> None:
    ended = run(tmp_path, "--ae-title", "LONGER THAN A TITLE")
    assert ended.returncode == 2
    assert "expected 1 to 16 letters" in ended.stderr
