"""The plain functions of two masks and a spacing."""

import math

import numpy as np
import pytest

from medseg import evaluation
from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation

RATIOS = ("dice", "iou", "sensitivity", "precision", "specificity", "volume_similarity", "boundary_iou", "nsd")
DISTANCES = ("hd", "hd95", "assd", "masd")
SPACING = (0.7, 1.2, 3.0)


def measure(name, *arguments, **options):
    return getattr(evaluation, f"measure_{name}")(*arguments, **options)


def draw(seed, shape=(9, 12, 7)):
    rng = np.random.default_rng(seed)
    return [rng.random(shape) < density for density in (0.3, 0.4)]


@pytest.mark.parametrize("definition", ["surfel", "voxel", "pooled"])
def test_agree_with_evaluate_case(definition):
    a, b = draw(0)
    geometry = Geometry.from_spacing(a.shape, SPACING)
    maps = [Segmentation(mask.astype(np.uint8), geometry) for mask in (a, b)]
    rows = evaluation.evaluate_case(
        *maps, LabelScheme.make({"x": 1}), case="c", metrics=(*RATIOS, *DISTANCES), definition=definition
    )
    for row in rows:
        options = {"definition": definition} if row.metric in (*DISTANCES, "nsd") else {}
        assert measure(row.metric, a, b, SPACING, **options) == pytest.approx(row.value)
        assert evaluation.measure_metric(row.metric, a, b, SPACING, definition=definition) == pytest.approx(row.value)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_of_any_type_and_order(dtype, order):
    a, b = draw(1)
    other = [np.asarray(mask, dtype, order=order) for mask in (a, b)]
    if dtype is not bool:
        other[0][a] = 3  # anything but 0 is inside
    for name in ("dice", "hd95"):
        assert measure(name, *other, SPACING) == measure(name, a, b, SPACING)
    assert measure("hd95", other[0], b, SPACING) == measure("hd95", a, b, SPACING)


def test_masks_are_left_as_they_are():
    a, b = draw(2)
    before = a.copy(), b.copy()
    for name in (*RATIOS, *DISTANCES):
        measure(name, a, b, SPACING)
    np.testing.assert_array_equal(before, (a, b))


@pytest.mark.parametrize("definition", ["surfel", "voxel", "pooled"])
def test_picture_is_a_single_slice(definition):
    a, b = draw(3, (20, 15))
    for name in (*RATIOS, *DISTANCES):
        options = {"definition": definition} if name in (*DISTANCES, "nsd") else {}
        thick = measure(name, a[..., None], b[..., None], (0.7, 1.2, 9.0), **options)
        assert measure(name, a, b, (0.7, 1.2), **options) == thick


def test_empty_masks():
    empty, full = np.zeros((5, 6, 7), bool), np.zeros((5, 6, 7), bool)
    full[1:3, 2:4, 3:6] = True
    for name in (*RATIOS, *DISTANCES):
        assert math.isnan(measure(name, empty, empty, SPACING))
        values = measure(name, empty, full, SPACING), measure(name, full, empty, SPACING)
        if name in DISTANCES:
            assert values == (math.inf, math.inf)
        elif name == "precision":
            assert math.isnan(values[0])
            assert values[1] == 0
        elif name == "sensitivity":
            assert values[0] == 0
            assert math.isnan(values[1])
        elif name != "specificity":
            assert values == (0, 0)
    assert math.isnan(measure("specificity", full | True, full | True))


def test_mean_iou_of_label_maps():
    reference, prediction = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    reference[0], reference[1], prediction[0, :2], prediction[3] = 1, 2, 1, 5
    assert evaluation.measure_mean_iou(prediction, reference) == pytest.approx(0.5 / 3)
    assert math.isnan(evaluation.measure_mean_iou(prediction * 0, reference * 0))


def test_refuses_what_does_not_fit():
    a, b = draw(4)
    with pytest.raises(ValueError, match="shapes"):
        measure("dice", a, b[:-1])
    with pytest.raises(ValueError, match="spacing"):
        measure("hd95", a, b, (1.0, 1.0))
    with pytest.raises(ValueError, match="spacing"):
        measure("hd95", a, b, (1.0, 0.0, 1.0))
    with pytest.raises(PlanError, match="surfels"):
        measure("hd95", a, b, SPACING, definition="surfels")
    with pytest.raises(PlanError, match="no single value"):
        evaluation.measure_metric("lesion_dice", a, b, SPACING)
