"""Scans of several DICOM series: by a model's own rules, and registered where they lie in other frames of reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError
from medseg.core.geometry import Geometry
from medseg.core.manifest import hash_file
from medseg.core.model import ModelRecord
from medseg.core.records import read_json
from medseg.core.volume import Volume
from medseg.inference import Predictor
from medseg.inference.folders.source import predict_source
from medseg.io import read_image
from medseg.io.dicom.channel_transforms import read_transforms
from tests.grids.registration.test_search import draw
from tests.inference.examples import write_model
from tests.io.dicom.volume_files import write_volume_series
from tests.phantoms import motion, oblique_geometry

MOVED = motion((6, -5, 11), (9, -7, 5))
FIRST = oblique_geometry((34, 38, 24), (3.8, 3.8, 4.5), (3, 2, -4), (0, 0, 0))
SECOND = oblique_geometry((36, 38, 28), (3.6, 4.2, 4.1), (0, 5, 0), (8, -6, 4))
# A head of three centimetres, which the model's voxels of a millimetre show in a moment.
SMALL = np.diag([0.25, 0.25, 0.25, 1.0])
RULES = (ChannelRule(channel="c0", modality="CT"), ChannelRule(channel="c1", modality="MR", description="t2*"))


def load(folder: Path, rules: tuple[ChannelRule, ...] = RULES) -> Predictor:
    """A model of two channels that knows its rules."""
    write_model(folder, folds=(0,), channels=2)
    record = ModelRecord.read(folder / "model.json")
    record.model_copy(update={"channel_rules": rules, "sha256": ""}).write(folder / "model.json")
    return Predictor.load(folder, device="cpu", mirroring=False)


def shrink(volume: Volume) -> Volume:
    return Volume(volume.array, Geometry(volume.geometry.shape, SMALL @ volume.geometry.affine), volume.channels)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT, and in another frame of reference two MR series of the same head, one of which the model knows."""
    folder = tmp_path_factory.mktemp("tree")
    write_volume_series(folder / "ct", shrink(draw(FIRST, np.eye(4), 0)[0]), FrameOfReferenceUID="1.2.1")
    for number, name in enumerate(("t1", "t2 tse"), 2):
        write_volume_series(
            folder / name, shrink(draw(SECOND, MOVED, number)[0]), Modality="MR", SeriesNumber=number,
            SeriesDescription=name, RescaleType="US", FrameOfReferenceUID="1.2.2",
        )  # fmt: skip
    return folder


def test_a_model_s_rules_choose_the_series_and_the_transform_is_kept(tree: Path, tmp_path: Path) -> None:
    predictor = load(tmp_path / "model")
    (refused,) = predict_source(predictor, tree, tmp_path / "out")
    assert refused.code == "other_frame"
    assert "t2 tse" in refused.reason
    (done,) = predict_source(predictor, tree, tmp_path / "out", register="rigid")
    assert (done.status, done.case) == ("done", refused.case)
    name = f"{done.case}.transforms.json"
    assert done.outputs[name] == hash_file(tmp_path / "out" / name)
    (transform,) = read_transforms(tmp_path / "out" / name)
    assert transform.moving == ("c1",)
    assert np.abs(np.array(transform.matrix) @ MOVED - np.eye(4))[:3, :3].max() < 0.05
    assert read_image(tmp_path / "out" / f"{done.case}.nii.gz").array.shape[1:] == FIRST.shape
    warnings = read_json(tmp_path / "out" / "run.json")["warnings"]
    assert any("c1 registered to c0" in warning for warning in warnings)
    (again,) = predict_source(predictor, tree, tmp_path / "out", register="rigid")
    assert again.status == "skipped"


def test_what_the_user_states_goes_before_the_model_s_rules(tree: Path, tmp_path: Path) -> None:
    (refused,) = predict_source(load(tmp_path / "model"), tree, tmp_path / "out", rules="c1: Modality=MR")
    assert refused.code == "ambiguous_series"


def test_models_that_contradict_one_another_need_a_word(tree: Path, tmp_path: Path) -> None:
    load(tmp_path / "one")
    load(tmp_path / "two", (RULES[0], ChannelRule(channel="c1", modality="MR", description="t1*")))
    both = Predictor.load([tmp_path / "one", tmp_path / "two"], device="cpu")
    with pytest.raises(DatasetError, match="by different rules") as caught:
        predict_source(both, tree, tmp_path / "out")
    assert "--channels" in str(caught.value.remedy)
    (refused,) = predict_source(both, tree, tmp_path / "out", rules="c0: Modality=CT; c1: SeriesNumber=2")
    assert refused.code == "other_frame"
