"""The way back to a scan's grid against nnU-Net's own export: no voxel differs."""

import numpy as np
import pytest
import torch

export = pytest.importorskip("nnunetv2.inference.export_prediction", reason="nnunetv2 (bench group) is not installed")

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: E402

from medseg.core.labels import LabelScheme  # noqa: E402
from medseg.preprocessing import (  # noqa: E402
    PreparedGrid,
    restore_blocks,
    restore_probabilities,
    restore_segmentation,
)
from medseg.preprocessing import restore as restore_module  # noqa: E402
from tests.preprocessing.logits import cut_blocks, make_grid, make_logits  # noqa: E402

CLASSES = {"background": 0, "liver": 1, "kidney": 2, "spleen": 3, "tumour": 4}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "active": 3}
ORDER = [1, 2, 3]
SHAPES = [
    # kept box, prepared grid, spacing of the prepared grid
    ((40, 52, 47), (27, 35, 31), (1.5, 1.5, 1.5)),
    ((21, 30, 30), (42, 44, 44), (0.7, 0.7, 0.7)),
    ((12, 40, 41), (12, 40, 41), (1.0, 1.0, 1.0)),
    ((31, 40, 40), (8, 30, 29), (5.0, 1.0, 1.0)),
    ((30, 12, 33), (20, 3, 22), (1.0, 4.5, 1.0)),
    ((1, 64, 48), (1, 40, 31), (1.0, 1.6, 1.6)),
]
TURNS = [(0, 1, 2), (2, 0, 1), (1, 2, 0)]


def export_as_nnunet(
    logits: torch.Tensor, grid: PreparedGrid, named: dict[str, object], *, with_probabilities: bool = False
) -> object:
    forward = list(grid.axis_order)
    backward = [forward.index(axis) for axis in range(3)]
    configuration = {
        "architecture": {},
        "spacing": list(grid.resampled_mm),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    plans = PlansManager(
        {
            "transpose_forward": forward,
            "transpose_backward": backward,
            "configurations": {"3d_fullres": configuration},
        }
    )
    properties = {
        "spacing": [grid.cropped_mm[backward[axis]] for axis in range(3)],
        "shape_before_cropping": [grid.shape[axis] for axis in forward],
        "shape_after_cropping_and_before_resampling": grid.cropped_shape,
        "bbox_used_for_cropping": [list(side) for side in zip(grid.crop_start, grid.crop_stop, strict=True)],
    }
    manager = plans.get_label_manager({"labels": named, "regions_class_order": ORDER})
    return export.convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.clone(),
        plans,
        plans.get_configuration("3d_fullres"),
        manager,
        properties,
        return_probabilities=with_probabilities,
        num_threads_torch=1,
    )


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["smooth", "noise", "ties"])
@pytest.mark.parametrize("named", [CLASSES, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize(("cropped", "resampled", "spacing_mm"), SHAPES)
def test_masks_equal_nnunets(
    cropped: tuple[int, ...],
    resampled: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    named: dict[str, object],
    kind: str,
    turn: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = LabelScheme.make(named, paint_order=ORDER if named is REGIONS else None)
    grid = make_grid(cropped, resampled, resampled_mm=spacing_mm, axis_order=turn)
    logits = make_logits(labels, grid, kind, 3)
    expected = export_as_nnunet(logits, grid, named)
    for least in (0, 2**60):  # compiled, then plain
        monkeypatch.setattr(restore_module, "COMPILED_FROM", least)
        result = restore_segmentation(logits, grid, labels).array
        assert np.count_nonzero(result != expected) == 0
        middle = [resampled[0] // 2] if resampled[0] > 1 else []
        blocks = cut_blocks(logits, middle, [2])
        assert np.array_equal(restore_blocks(blocks, grid, labels).array, result)


@pytest.mark.parametrize("named", [CLASSES, REGIONS], ids=["classes", "regions"])
@pytest.mark.parametrize(("cropped", "resampled", "spacing_mm"), SHAPES)
def test_probabilities_equal_nnunets(
    cropped: tuple[int, ...], resampled: tuple[int, ...], spacing_mm: tuple[float, ...], named: dict[str, object]
) -> None:
    labels = LabelScheme.make(named, paint_order=ORDER if named is REGIONS else None)
    grid = make_grid(cropped, resampled, resampled_mm=spacing_mm, axis_order=(2, 0, 1))
    logits = make_logits(labels, grid, "noise", 4)
    _, expected = export_as_nnunet(logits, grid, named, with_probabilities=True)
    assert np.allclose(restore_probabilities(logits, grid, labels), expected, rtol=0, atol=1e-6)
