"""The way back to the scan's grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.core.plan import NormalisationPlan
from medseg.grids import resample_array
from medseg.preprocessing import (
    bound_logits,
    prepare_case,
    restore_blocks,
    restore_probabilities,
    restore_segmentation,
)
from medseg.preprocessing.restore import as_block
from tests.preprocessing.examples import CLASSES, REGIONS, make_plan, make_scan

ZSCORE = (NormalisationPlan(scheme="zscore"),)
PLAIN = LabelScheme.make({"background": 0, "organ": 1, "tumour": 3})


def as_logits(reference: np.ndarray, labels: LabelScheme) -> torch.Tensor:
    """Logits of a network that is sure of the reference."""
    return torch.from_numpy(labels.channel_table()[:, reference].astype(np.float32) * 10 - 5)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@given(st.permutations([0, 1, 2]), st.sampled_from([CLASSES, PLAIN, REGIONS]), st.sampled_from([torch.float16, None]))
@settings(max_examples=20, deadline=None)
def test_without_resampling_the_mask_comes_back_exactly(
    order: list[int], labels: LabelScheme, kind: torch.dtype | None
) -> None:
    volume, segmentation = make_scan(values=(1, 2) if labels is REGIONS else (1, 3))
    plan, configuration = make_plan((1.0, 1.0, 1.0), ZSCORE, axis_order=tuple(order), labels=labels)
    prepared = prepare_case(volume, segmentation, plan, configuration)
    restored = restore_segmentation(as_logits(prepared.reference, labels).to(kind), prepared.grid, labels)
    assert restored.geometry.same_grid(volume.geometry)
    assert restored.array.dtype == np.uint8
    inside = np.zeros_like(segmentation.array)
    inside[2:19, 3:23, 4:13] = segmentation.array[2:19, 3:23, 4:13]
    assert np.array_equal(restored.array, inside)


@pytest.mark.parametrize(
    ("scan_mm", "wanted_mm"),
    [
        ((1.0, 1.0, 1.0), (0.7, 0.8, 0.9)),
        ((1.0, 1.0, 4.0), (4.0, 0.8, 0.8)),
        ((1.0, 1.0, 4.0), (1.0, 1.0, 1.0)),
        ((4.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    ],
)
@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
def test_resampling_there_and_back_loses_little(
    scan_mm: tuple[float, float, float], wanted_mm: tuple[float, float, float], labels: LabelScheme
) -> None:
    values = (1, 2) if labels is REGIONS else (1, 3)
    volume, segmentation = make_scan(shape=(32, 36, 30), spacing_mm=scan_mm, values=values)
    plan, configuration = make_plan(wanted_mm, ZSCORE, labels=labels)
    prepared = prepare_case(volume, segmentation, plan, configuration)
    assert prepared.grid.is_resampled
    restored = restore_segmentation(as_logits(prepared.reference, labels), prepared.grid, labels)
    for name in labels.names:
        assert dice(labels.mask(restored.array, name), labels.mask(segmentation.array, name)) > 0.95


@pytest.mark.parametrize("wanted_mm", [(1.3, 0.8, 0.7), (5.0, 0.9, 0.9), (1.0, 1.0, 1.0)])
def test_equals_labels_of_logits_resampled_on_their_own(wanted_mm: tuple[float, float, float]) -> None:
    volume, _ = make_scan()
    plan, configuration = make_plan(wanted_mm, ZSCORE, labels=PLAIN)
    grid = prepare_case(volume, None, plan, configuration).grid
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(3, *grid.resampled_shape)).astype(np.float32))
    box = resample_array(logits.numpy(), grid.cropped_shape, order=1, coarse_axis=grid.coarse_axis_back)
    expected = np.zeros(volume.geometry.shape, np.uint8)
    expected[2:19, 3:23, 4:13] = np.array([0, 1, 3])[box.argmax(axis=0)].transpose(1, 2, 0)
    assert np.array_equal(restore_segmentation(logits, grid, PLAIN).array, expected)
    probabilities = restore_probabilities(logits, grid, PLAIN)
    assert probabilities.shape == (3, *volume.geometry.shape)
    assert np.allclose(probabilities.sum(axis=0), 1.0, atol=1e-5)
    assert np.all(probabilities[0, :2] == 1.0)
    softmax = torch.softmax(torch.from_numpy(box), dim=0).numpy().transpose(0, 2, 3, 1)
    assert np.allclose(probabilities[:, 2:19, 3:23, 4:13], softmax, atol=1e-5)


def test_equal_logits_give_the_lowest_class_and_later_regions_paint_over() -> None:
    volume, _ = make_scan()
    for labels, expected in [(PLAIN, 0), (REGIONS, 0)]:
        plan, configuration = make_plan((1.0, 1.0, 1.0), ZSCORE, labels=labels)
        grid = prepare_case(volume, None, plan, configuration).grid
        zeros = torch.zeros((labels.channel_count, *grid.resampled_shape))
        assert np.all(restore_segmentation(zeros, grid, labels).array == expected)
    restored = restore_segmentation(zeros + 1.0, grid, REGIONS).array
    assert np.all(restored[2:19, 3:23, 4:13] == 2)
    assert np.all(restore_probabilities(zeros, grid, REGIONS)[:, :2] == 0.0)


@pytest.mark.parametrize("compiled_from", [0, 2**60])
@pytest.mark.parametrize("floor", [None, -5.0])
def test_of_equal_logits_the_lowest_value_wins_however_labels_are_listed(
    compiled_from: int, floor: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.preprocessing.restore.COMPILED_FROM", compiled_from)
    volume, _ = make_scan()
    rising = LabelScheme.make({"a": 1, "b": 2, "c": 3})
    listed = LabelScheme.make({"c": 3, "a": 1, "b": 2})
    plan, configuration = make_plan((1.3, 0.8, 0.7), ZSCORE, labels=rising)
    grid = prepare_case(volume, None, plan, configuration).grid
    logits = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (4, *grid.resampled_shape))).half()
    expected = restore_blocks([as_block(logits)], grid, rising, floor=floor).array
    assert set(np.unique(expected)) == {0, 1, 2, 3}
    swapped = as_block(logits[[0, 3, 1, 2]])
    assert np.array_equal(restore_blocks([swapped], grid, listed, floor=floor).array, expected)


def test_logits_of_another_shape_are_refused() -> None:
    volume, _ = make_scan()
    plan, configuration = make_plan((1.0, 1.0, 1.0), ZSCORE, labels=PLAIN)
    grid = prepare_case(volume, None, plan, configuration).grid
    with pytest.raises(GeometryError, match="expected"):
        restore_segmentation(torch.zeros((2, *grid.resampled_shape)), grid, PLAIN)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_bounded_logits_keep_every_label_and_the_border_between_unequal_certainties(output: str) -> None:
    names = {"organ": 1, "tumour": 2} if output == "softmax" else {"tumour": 1}
    labels = LabelScheme.make(names)
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 8, (labels.channel_count, 6, 6, 6)).astype(np.float32))
    bounded = bound_logits(logits, labels, -4.0)
    if output == "softmax":
        assert torch.equal(bounded.argmax(0), logits.argmax(0))
    else:
        assert torch.equal(bounded > 0, logits > 0)
    assert torch.equal(bound_logits(logits, labels, None), logits)
    # A step from -40 to 4: the plain zero lies at 0.91 of the way, the bounded one in the middle.
    if output == "sigmoid":
        step = bound_logits(torch.tensor([-40.0, 4.0]).reshape(1, 2, 1, 1), labels, -4.0).flatten()
        assert float(step.mean()) == pytest.approx(0.0)
