"""Bad models through ``medseg predict`` and ``medseg doctor``: one line, nothing run, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.io import write_volume
from tests.bad_inputs import MODELS
from tests.corpus.models import BadModel
from tests.end_to_end.command_line import medseg
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_model(folder / "model", folds=(0,))
    write_volume(folder / "scans" / "a.nii.gz", make_scan()[0])
    return folder


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in MODELS])
def test_each_model_is_refused(entry: BadModel, sound: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = Path(shutil.copytree(sound / "model", tmp_path / "model"))
    entry.build(model)
    before = set(tmp_path.rglob("*"))
    ended = medseg("predict", sound / "scans", tmp_path / "out", "--model", model, "--device", "cpu")
    said = "\n".join([ended.output, *ended.lines])
    assert ended.code == 2, said
    assert entry.says in said
    assert str(model) in said
    assert len([line for line in ended.lines if line.strip()]) == 1, "one line"
    assert len(ended.lines[0]) < 1200
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert {path for path in tmp_path.rglob("*") if (tmp_path / "out") not in [path, *path.parents]} == before
    checked = medseg("doctor", "--model", model)
    assert checked.code != 0
    everything = said + checked.output + "\n".join(checked.lines) + "".join(capfd.readouterr())
    assert not any(word in everything for word in ("Traceback", "CODE OF A MODEL RAN"))


def test_a_sound_model_is_not(sound: Path, tmp_path: Path) -> None:
    ended = medseg("predict", sound / "scans", tmp_path / "out", "--model", sound / "model", "--device", "cpu")
    assert ended.code == 0
    assert (tmp_path / "out" / "a.nii.gz").exists()
