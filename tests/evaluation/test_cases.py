"""evaluate_case against plain numpy, and its rules for empty masks, ignored voxels, regions and grids."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.core.errors import DatasetError, GeometryError, PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.evaluation import DEFAULT_METRICS, Metric, evaluate_case
from medseg.evaluation.surface import measure_assd, measure_hd95
from medseg.shapes.surfaces import measure_surface_distances

SCHEME = LabelScheme.make({"background": 0, "organ": 1, "tumour": 2})
RATIOS = ("dice", "iou", "sensitivity", "precision", "specificity", "volume_similarity")


def segment(array, spacing=(1.0, 1.0, 2.0)):
    array = np.asarray(array, np.uint8) if np.asarray(array).dtype.kind != "u" else array
    return Segmentation(array, Geometry.from_spacing(array.shape, spacing))


def score(prediction, reference, labels=SCHEME, **options):
    rows = evaluate_case(segment(prediction), segment(reference), labels, case="c", **options)
    return {(row.label, row.metric, row.instance): row for row in rows}


def expect_ratios(p, r):
    tp, fp, fn, tn = (p & r).sum(), (p & ~r).sum(), (~p & r).sum(), (~p & ~r).sum()
    parts = {
        "dice": (2 * tp, 2 * tp + fp + fn),
        "iou": (tp, tp + fp + fn),
        "sensitivity": (tp, tp + fn),
        "precision": (tp, tp + fp),
        "specificity": (tn, tn + fp),
        "volume_similarity": (2 * tp + fp + fn - abs(fp - fn + 0), 2 * tp + fp + fn),
    }
    return {name: part / whole if whole else None for name, (part, whole) in parts.items()}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 8)] * 3), st.booleans(), st.sampled_from("CF"))
def test_ratios_agree_with_numpy(seed, shape, with_ignore, order):
    rng = np.random.default_rng(seed)
    labels = LabelScheme.make({"whole": [1, 3, 700], "core": [3], "rest": 2, **({"ignore": 9} if with_ignore else {})})
    prediction, reference = (
        np.asarray(rng.choice([0, 1, 2, 3, 700, 9], shape, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]), np.uint16, order=order)
        for _ in range(2)
    )
    rows = score(prediction, reference, labels, metrics=RATIOS)
    counted = reference != 9 if with_ignore else np.ones(shape, bool)
    for name, values in labels.labels.items():
        p, r = (np.isin(array, values)[counted] for array in (prediction, reference))
        for metric, value in expect_ratios(p, r).items():
            row = rows[name, metric, 0]
            if not p.any() and not r.any():
                assert (row.value, row.status) == (None, "both_empty")
            else:
                assert row.value == (None if value is None else pytest.approx(value, abs=1e-12))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 9)] * 3))
def test_distances_do_not_depend_on_the_cut_out(seed, shape):
    rng = np.random.default_rng(seed)
    prediction, reference = (np.asarray(rng.random(shape) < 0.05, np.uint8) for _ in range(2))
    row = score(prediction, reference, LabelScheme.make({"spot": 1}), metrics=["hd95", "assd"])
    whole = measure_surface_distances(prediction, reference, (1.0, 1.0, 2.0))
    if prediction.any() or reference.any():
        assert row["spot", "hd95", 0].value == pytest.approx(measure_hd95(whole))
        assert row["spot", "assd", 0].value == pytest.approx(measure_assd(whole))
    else:
        assert row["spot", "hd95", 0].value is None


def test_default_rows_and_their_columns():
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:6, 2:6, 2:6], reference[8, 8, 8] = 1, 1
    prediction = np.roll(reference, 1, axis=0)
    prediction[9, 8, 8] = 0
    found = score(prediction, reference, tolerance_mm=1.5, patient="p", day=3, fold=2)
    strata = {"lesion_recall[<1ml]", "lesion_precision[<1ml]", "lesion_dice[<1ml]"}
    assert {key[1] for key in found} == {name for name in DEFAULT_METRICS if name != "lesion_dice"} | strata
    assert found["organ", "nsd", 0].definition == "surfel tol=1.5mm"
    assert found["organ", "hd95", 0].unit == "mm"
    assert found["organ", "dice", 0].definition == "voxel"
    assert found["organ", "dice", 0].value == pytest.approx(2 * 48 / 129)
    lesions = [row for (label, metric, number), row in found.items() if number and metric == "dice"]
    assert [(row.instance, row.metric, row.value) for row in lesions] == [(1, "dice", 0.75), (2, "dice", 0.0)]
    assert {row.definition for row in lesions} == {found["organ", "lesion_f1", 0].definition} == {"any_overlap conn=26"}
    row = found["organ", "lesion_f1", 0]
    assert (row.case, row.patient, row.day, row.fold, row.value) == ("c", "p", 3, 2, pytest.approx(2 / 3))
    assert found["tumour", "dice", 0].status == "both_empty"
    assert found["all", "mean_iou", 0].value == found["organ", "iou", 0].value


RATIOS_OF_MASKS = (*RATIOS, "boundary_iou", "nsd", "lesion_f1", "lesion_precision", "lesion_recall")
DISTANCES = ("hd", "hd95", "assd", "masd")


@pytest.mark.parametrize("definition", ["surfel", "voxel", "pooled"])
def test_one_mask_is_empty(definition):
    empty, full = np.zeros((5, 5, 5), np.uint8), np.zeros((5, 5, 5), np.uint8)
    full[1:4, 1:4, 1:4] = 2
    for prediction, reference, status, unknown in (
        (empty, full, "prediction_empty", ("precision", "lesion_precision")),
        (full, empty, "reference_empty", ("sensitivity", "lesion_recall")),
    ):
        names = (*RATIOS_OF_MASKS, *DISTANCES, "mean_iou")
        found = score(prediction, reference, metrics=names, definition=definition)
        for metric in (*RATIOS_OF_MASKS, *DISTANCES):
            row = found["tumour", metric, 0]
            assert row.status == status
            if metric in unknown:
                assert row.value is None
            elif metric in DISTANCES:
                assert row.value == math.inf
            elif metric != "specificity":
                assert row.value == 0
            assert found["organ", metric, 0].status == "both_empty"
        assert (found["all", "mean_iou", 0].value, found["all", "mean_iou", 0].status) == (0, status)
        lesions = score(prediction, reference, metrics=["lesion_dice"])
        assert [row.value for row in lesions.values()] == ([0.0] if status == "prediction_empty" else [])


def test_ignored_voxels_count_on_neither_side():
    reference, prediction = np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    reference[1:3, 1:3, 1:3], reference[5:] = 1, 7
    prediction[1:3, 1:3, 1:3], prediction[6:, 2:, 2:] = 1, 1
    found = score(prediction, reference, LabelScheme.make({"organ": 1, "ignore": 7}))
    assert {row.status for row in found.values()} == {"ok"}
    assert {found["organ", metric, 0].value for metric in RATIOS_OF_MASKS} == {1.0}
    assert found["organ", "hd95", 0].value == 0.0


def test_definitions_and_tolerances():
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:8, 2:8, 2:8], reference[8:, 8:, 8:] = 1, 2
    prediction = np.roll(reference, 1, axis=2)
    stated = LabelScheme.make({"organ": 1, "tumour": 2}, tolerance_mm={"tumour": 2.5})

    def name(labels=stated, **options):
        found = score(prediction, reference, labels, metrics=["nsd", "hd95", "dice"], **options)
        return [found[label, "nsd", 0].definition for label in ("organ", "tumour")]

    assert name() == ["surfel tol=1mm", "surfel tol=2.5mm"]
    assert name(tolerance_mm=3) == ["surfel tol=3mm", "surfel tol=3mm"]
    assert name(tolerance_mm={"organ": 0.5}, definition="voxel") == ["voxel tol=0.5mm", "voxel tol=2.5mm"]
    assert name(tolerance_mm={"": 0.5, "tumour": 4}, definition="pooled") == ["pooled tol=0.5mm", "pooled tol=4mm"]
    found = score(prediction, reference, metrics=["hd95"], definition="pooled")
    assert found["organ", "hd95", 0].definition == "pooled"
    for wrong in ({"tumor": 1.0}, -1.0, math.nan):
        with pytest.raises(DatasetError, match="tolerance"):
            name(tolerance_mm=wrong)
    with pytest.raises(PlanError, match="voxels"):
        name(definition="voxels")


def test_mean_iou_leaves_out_labels_that_neither_mask_holds():
    labels = LabelScheme.make({"first": 1, "second": 2, "third": 3})
    reference, prediction = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    reference[0], reference[1], prediction[0, :2], prediction[3] = 1, 2, 1, 2
    assert score(prediction, reference, labels, metrics=["mean_iou"])["all", "mean_iou", 0].value == 0.25
    nothing = score(reference * 0, reference * 0, labels, metrics=["mean_iou"])["all", "mean_iou", 0]
    assert (nothing.value, nothing.status) == (None, "both_empty")


def test_boundary_iou_of_shifted_boxes():
    reference, prediction = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    reference[1:6, 1:6, 1:6] = prediction[2:7, 1:6, 1:6] = 1
    expected = find_layer(reference) & find_layer(prediction)
    union = find_layer(reference) | find_layer(prediction)
    value = score(prediction, reference, metrics=["boundary_iou"])["organ", "boundary_iou", 0].value
    assert value == pytest.approx(expected.sum() / union.sum())
    flat = score(prediction[..., 3:4], reference[..., 3:4], metrics=["boundary_iou"])["organ", "boundary_iou", 0].value
    assert flat == pytest.approx((2 * 4 + 0) / (16 + 16 - 8))


def find_layer(mask):
    return (mask > 0) & ~ndimage.binary_erosion(mask)


def test_largest_values_of_a_type():
    array = np.zeros((4, 4, 4), np.uint8)
    array[1:3, 1:3, 1:3] = 255
    found = score(array, array, LabelScheme.make({"mask": 255}))
    assert found["mask", "dice", 0].value == 1.0
    wide = array.astype(np.uint32)
    wide[0] = 2**31
    assert score(wide, wide, LabelScheme.make({"mask": 255}))["mask", "dice", 0].value == 1.0


def test_many_labels_in_slabs(monkeypatch):
    monkeypatch.setattr("medseg.evaluation.survey.SLAB_VOXELS", 100)
    rng = np.random.default_rng(0)
    labels = LabelScheme.make({f"label {value}": value for value in range(1, 301)})
    prediction, reference = rng.integers(0, 320, (2, 17, 9, 8), dtype=np.uint16)
    found = score(prediction, reference, labels, metrics=["dice"])
    for value in range(1, 301):
        expected = expect_ratios(prediction == value, reference == value)["dice"]
        assert found[f"label {value}", "dice", 0].value == expected


def test_own_metrics():
    array = np.zeros((5, 5, 5), np.uint8)
    array[1:4, 1:4, 1:4] = 1

    def count_voxels(pair):
        return float(pair.counts.prediction)

    thickness = Metric("thickness", lambda pair: None, definition="ridge", unit="mm")
    found = score(array, array, metrics=[count_voxels, thickness, "iou"])
    assert found["organ", "count_voxels", 0].value == 27
    assert (found["organ", "thickness", 0].value, found["organ", "thickness", 0].status) == (None, "not_defined")
    assert found["organ", "thickness", 0].definition == "ridge"
    assert found["tumour", "count_voxels", 0].status == "both_empty"
    with pytest.raises(PlanError, match="unknown metric"):
        score(array, array, metrics=["dicee"])


def test_refuses_another_grid():
    array = np.zeros((5, 5, 5), np.uint8)
    with pytest.raises(GeometryError, match=r"5x5x5.*5x5x6"):
        evaluate_case(segment(array), segment(np.zeros((5, 5, 6), np.uint8)), SCHEME, case="c")
    with pytest.raises(GeometryError, match="apart") as caught:
        evaluate_case(segment(array), segment(array, (1.0, 1.0, 2.1)), SCHEME, case="c")
    assert caught.value.case == "c"


def test_importing_loads_neither_numba_nor_torch_nor_scipy():
    code = "import sys, medseg.evaluation; print({'numba', 'torch', 'scipy', 'cc3d'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
