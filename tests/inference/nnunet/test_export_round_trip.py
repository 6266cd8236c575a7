"""Exported and imported again, a model gives the masks that it gave before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.model import Member
from medseg.inference import Model, Predictor, open_model
from medseg.inference.nnunet.export import export_nnunet
from medseg.inference.nnunet.export_reading import compare_checkpoints
from medseg.inference.nnunet.find import find_models
from medseg.inference.nnunet.importing import import_model
from tests.inference.nnunet.exports import DEEP_3D, ONE, ORGANS, REGIONS, make_plan, write_model
from tests.preprocessing.examples import make_scan
from tests.training.examples import make_configuration

RESIDUAL = DEEP_3D.model_copy(update={"name": "residual_unet"})


def import_back(model: Model, folder: Path, configuration: str = "3d_fullres") -> Model:
    export_nnunet(model, folder / "out")
    found = [entry for entry in find_models(folder / "out") if entry.path.name.endswith(f"__{configuration}")]
    assert len(found) == 1
    verdict = import_model(found[0], folder / "back")
    assert verdict.error is None, verdict.error
    return open_model(folder / "back")


def predict(model: Model) -> np.ndarray:
    volume, _ = make_scan(shape=(20, 24, 14), spacing_mm=(1.0, 1.2, 2.0))
    mask: np.ndarray = Predictor.load(model.folder, device="cpu", precision="exact").predict(volume).segmentation.array
    return mask


@pytest.mark.parametrize(
    ("labels", "options", "changes"),
    [
        (ORGANS, {}, {}),
        (ONE, {"network": DEEP_3D, "patch_size": (8, 16, 16)}, {"axis_order": (1, 0, 2)}),
        (REGIONS, {"network": RESIDUAL, "patch_size": (8, 16, 16)}, {}),
        (LabelScheme.make({"a": 1, "b": 2, "ignore": 9}), {}, {"orientation": "SAR"}),
        (ORGANS, {"network": RESIDUAL.model_copy(update={"norm": "batch", "bias": False, "slope": 0.2})}, {}),
    ],
)
def test_volumes(labels: LabelScheme, options: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    plan = make_plan([make_configuration(**options)], labels, **changes)
    model = write_model(tmp_path / "model", plan, mirror_axes=(0, 2))
    back = import_back(model, tmp_path)
    assert back.record.mirror_axes == (0, 2)
    ours, theirs = model.plan.configuration("3d_fullres"), back.plan.configuration("3d_fullres")
    for part in ("network", "normalisation", "spacing_mm", "patch_size", "median_shape", "batch_size", "batch_dice"):
        assert getattr(ours, part) == getattr(theirs, part)
    assert (back.plan.axis_order, back.plan.orientation) == (plan.axis_order, plan.orientation)
    before = predict(model)
    assert len(np.unique(before)) > 1
    np.testing.assert_array_equal(predict(back), before)


def test_slices(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", make_plan([make_configuration(dimensions=2)], ONE), mirror_axes=(1,))
    back = import_back(model, tmp_path, "2d")
    assert back.record.mirror_axes == (1,)
    np.testing.assert_array_equal(predict(back), predict(model))


@pytest.mark.slow  # the importer opens four checkpoints, each in a process of its own
def test_cascade(tmp_path: Path) -> None:
    full = make_configuration().model_copy(update={"name": "3d_cascade_fullres"})
    low = make_configuration().model_copy(update={"name": "3d_lowres", "spacing_mm": (2.0, 2.0, 2.0)})
    member = Member(configuration="3d_cascade_fullres", folds=(0,), previous="3d_lowres", previous_folds=(1,))
    model = write_model(tmp_path / "model", make_plan([full, low]), [member])
    back = import_back(model, tmp_path, "3d_cascade_fullres")
    assert back.record.members == (member,)
    np.testing.assert_array_equal(predict(back), predict(model))


def test_another_networks_export_is_far_off(tmp_path: Path) -> None:
    plan = make_plan([make_configuration()])
    model = write_model(tmp_path / "model", plan, [Member(configuration="3d_fullres", folds=(0, 1))])
    output = tmp_path / "out"
    export_nnunet(model, output)
    first, second = sorted(output.rglob("fold_*"))
    first.rename(tmp_path / "kept")
    second.rename(first)
    (tmp_path / "kept").rename(second)
    comparisons = list(compare_checkpoints(model, output))
    assert [comparison.network for comparison in comparisons] == ["3d_fullres/fold_0", "3d_fullres/fold_1"]
    assert not any(comparison.is_close for comparison in comparisons)
