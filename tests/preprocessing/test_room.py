"""Preparing and training are refused where the disk will not hold what they write, before they begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medseg.core.errors import ResourceError
from medseg.core.fingerprint import CaseFingerprint, Fingerprint, IntensityStatistics
from medseg.core.workspace import Workspace
from medseg.preprocessing.room import LEAST_SHARE, estimate_bytes, require_room_for_cases
from tests.preprocessing.examples import CLASSES
from tests.training.examples import make_configuration, make_setting


def leave(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every disk have so many bytes left."""
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**15, 0, free))


def make_case(name: str = "a") -> CaseFingerprint:
    return CaseFingerprint(
        case=name, patient=name, day=None, shape=(512, 512, 100), spacing_mm=(0.5, 0.5, 3.0),
        cropped_shape=(400, 400, 100), label_ml={},
    )  # fmt: skip


def test_a_case_takes_what_its_voxels_take() -> None:
    configuration = make_configuration(channels=2)  # 1 mm along each axis
    voxels = 200 * 200 * 300
    assert estimate_bytes(make_case(), configuration) == pytest.approx(LEAST_SHARE * voxels * 2 * 2)
    assert estimate_bytes(make_case(), configuration, exact_store=True) == pytest.approx(LEAST_SHARE * voxels * 2 * 4)
    flat = make_configuration(dimensions=2)  # slices as they are
    assert estimate_bytes(make_case(), flat) == pytest.approx(LEAST_SHARE * 200 * 200 * 100 * 2)


def test_what_is_prepared_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, configuration = Workspace(tmp_path), make_configuration()
    numbers = dict.fromkeys(IntensityStatistics.model_fields, 1.0)
    Fingerprint(
        dataset="example", channels=("CT",), labels=CLASSES, cases=(make_case("a"), make_case("b")),
        intensities=(IntensityStatistics(**numbers),), cropped_share=1.0,
    ).write(space.fingerprint)  # fmt: skip
    leave(60_000_000, monkeypatch)
    with pytest.raises(ResourceError) as caught:
        require_room_for_cases(space, ["a", "b"], [configuration])
    assert caught.value.code == "no_room"
    assert "preparing 2 cases needs about 0.0192 GB, and 0.06 GB are free" in str(caught.value)
    (space.prepared(configuration.name)).mkdir(parents=True)
    (space.prepared(configuration.name) / "a.json").touch()
    require_room_for_cases(space, ["a", "b"], [configuration, configuration])  # alike: a file for both
    require_room_for_cases(Workspace(tmp_path / "elsewhere"), ["a", "b"], [configuration])


def test_training_asks_for_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting, reason = make_setting(tmp_path), "keeping 3 checkpoints while the next one is written needs about"
    leave(1000, monkeypatch)
    with pytest.raises(ResourceError, match=reason) as caught:
        setting.train(epochs=1)
    assert caught.value.code == "no_room"
    monkeypatch.undo()
    setting.train(epochs=1)
    leave(1000, monkeypatch)
    setting.train(epochs=1)  # it has ended; nothing more is written
