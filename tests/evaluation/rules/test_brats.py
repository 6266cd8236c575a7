"""BraTS' lesion-wise scores, by hand and against the published steps done slowly on whole scans."""

import numpy as np
import pytest
from scipy import ndimage

from medseg.evaluation.surface import measure_hd95
from medseg.shapes.surfaces import measure_surface_distances
from tests.evaluation.rules.test_rules import paint, score

CUBE = (1.0, 1.0, 1.0)
SHAPE = (40, 24, 12)


def test_by_hand():
    # 64 voxels half found, 96 missed, 8 too small to count, and two false components.
    found, missed, small = ((2, 6), (2, 6), (2, 6)), ((14, 20), (2, 6), (2, 6)), ((30, 32), (2, 4), (2, 4))
    reference = paint(found, missed, small, shape=SHAPE)
    prediction = paint(((4, 8), (2, 6), (2, 6)), ((2, 3), (20, 21), (2, 3)), ((30, 33), (20, 23), (2, 4)), shape=SHAPE)
    rows = score(prediction, reference, "brats", spacing=CUBE)
    assert rows["tumour", "lesionwise_dice"] == pytest.approx((0.5 + 0 + 2 * 0) / 4)
    assert rows["tumour", "lesionwise_hd95"] == pytest.approx((2 + 374 + 2 * 374) / 4)
    counts = [rows["tumour", f"{kind}_lesions"] for kind in ("true_positive", "false_negative", "false_positive")]
    assert counts == [1, 1, 2]
    assert rows["tumour", "dice"] == pytest.approx(2 * 32 / (64 + 96 + 8 + 64 + 1 + 18))
    assert rows["tumour", "sensitivity"] == pytest.approx(32 / 168)
    assert rows["tumour", "specificity"] == pytest.approx(1 - 51 / (np.prod(SHAPE) - 168))


def test_lesions_near_one_another_are_one():
    # Six voxels apart: each dilated three times, they touch.
    boxes = [((2, 6), (2, 6), (2, 6)), ((12, 16), (2, 6), (2, 6))]
    reference, prediction = paint(*boxes, shape=SHAPE), paint(boxes[0], shape=SHAPE)
    rows = score(prediction, reference, "brats", spacing=CUBE)
    assert (rows["tumour", "true_positive_lesions"], rows["tumour", "false_negative_lesions"]) == (1, 0)
    assert rows["tumour", "lesionwise_dice"] == pytest.approx(2 * 64 / (128 + 64))
    # Dilated once (meningiomas, metastases), they are two.
    rows = score(prediction, reference, "brats-men", spacing=CUBE)
    assert (rows["tumour", "true_positive_lesions"], rows["tumour", "false_negative_lesions"]) == (1, 1)
    assert rows["tumour", "lesionwise_hd95"] == pytest.approx(374 / 2)


def test_thresholds_of_the_challenges():
    reference = paint(((2, 4), (2, 4), (2, 3)), shape=SHAPE)  # 4 mm3
    missed = paint(((30, 34), (2, 6), (2, 6)), shape=SHAPE)
    assert score(missed, reference, "brats", spacing=CUBE)["tumour", "lesionwise_hd95"] == 374  # the false one alone
    assert score(missed, reference, "brats-met", spacing=CUBE)["tumour", "false_negative_lesions"] == 1
    # Nothing that counts on either side: a perfect score.
    assert score(paint(shape=SHAPE), reference, "brats", spacing=CUBE)["tumour", "lesionwise_dice"] == 1
    assert score(paint(shape=SHAPE), reference, "brats-met", spacing=CUBE)["tumour", "lesionwise_dice"] == 0


def test_empty_masks():
    empty, box = paint(shape=SHAPE), paint(((2, 6), (2, 6), (2, 6)), shape=SHAPE)
    both = score(empty, empty, "brats", spacing=CUBE)
    assert [both["tumour", name] for name in ("lesionwise_dice", "dice", "sensitivity", "specificity")] == [1] * 4
    assert both["tumour", "lesionwise_hd95"] == both["tumour", "hd95"] == 0
    for prediction, reference in ((empty, box), (box, empty)):
        rows = score(prediction, reference, "brats", spacing=CUBE)
        assert rows["tumour", "lesionwise_dice"] == rows["tumour", "dice"] == rows["tumour", "sensitivity"] == 0
        assert rows["tumour", "lesionwise_hd95"] == rows["tumour", "hd95"] == 374


def score_slowly(prediction, reference, dilation, above):
    """The published steps one by one, each on the whole scan."""
    eighteen, all_26 = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    predicted, count = ndimage.label(prediction, all_26)
    groups, lesions = ndimage.label(ndimage.binary_dilation(reference, eighteen, dilation), all_26)
    dice, hd95, matched = [], [], set()
    for number in range(1, lesions + 1):
        lesion = (groups == number) & (reference > 0)
        touching = set(np.unique(predicted[ndimage.binary_dilation(lesion, eighteen, dilation)])) - {0}
        matched |= touching
        near = np.isin(predicted, list(touching))
        if lesion.sum() > above:
            dice.append(2 * (lesion & near).sum() / (lesion.sum() + near.sum()))
            far = measure_hd95(measure_surface_distances(near, lesion, CUBE))
            hd95.append(374 if np.isinf(far) else far)
    false = count - len(matched)
    total = len(dice) + false
    return (sum(dice) / total, (sum(hd95) + 374 * false) / total) if total else (1, 0)


@pytest.mark.parametrize(("name", "dilation", "above"), [("brats", 3, 50), ("brats-met", 1, 2)])
def test_agrees_with_whole_scans(name, dilation, above):
    rng = np.random.default_rng(4)
    for _ in range(8):
        reference, prediction = (
            (ndimage.gaussian_filter(rng.standard_normal((24, 22, 18)), 1.6) > level).astype(np.uint8)
            for level in rng.uniform(0.1, 0.2, 2)
        )
        rows = score(prediction, reference, name, spacing=CUBE)
        dice, hd95 = score_slowly(prediction, reference, dilation, above)
        assert rows["tumour", "lesionwise_dice"] == pytest.approx(dice)
        assert rows["tumour", "lesionwise_hd95"] == pytest.approx(hd95)
