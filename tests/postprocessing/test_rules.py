"""What rules remove and what removed voxels become."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.postprocessing import Rule, apply_rules
from medseg.postprocessing.rules import find_substitutes
from tests.phantoms import ball, centre_of, lesions, oblique_geometry, segmentation_of

ORGAN_AND_TUMOUR = LabelScheme.make({"organ": 1, "tumour": 2})
BRAIN = LabelScheme.make({"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}, paint_order=(1, 2, 3))


def test_keep_largest_leaves_the_largest_component_of_its_label_alone():
    geometry = oblique_geometry()
    middle = centre_of(geometry)
    large, small = ball(geometry, middle, 9), ball(geometry, middle + np.array([14, 0, 0]), 3)
    organ = ball(geometry, middle - np.array([14, 0, 0]), 3)
    before = segmentation_of(geometry, organ, large | small)
    after = apply_rules(before, ORGAN_AND_TUMOUR, [Rule(label="tumour", keep_largest=True)])
    assert np.array_equal(after.array, segmentation_of(geometry, organ, large).array)
    assert before.array[small].all()


def test_minimum_size_is_in_millilitres_and_keeps_components_of_exactly_that_size():
    array = np.zeros((20, 20, 20), np.uint8)
    array[2:4, 2:7, 2:7] = 2  # 50 voxels
    array[10:17, 10:17, 12] = 2  # 49 voxels
    before = Segmentation(array, Geometry.from_spacing(array.shape, (0.7, 0.9, 1.3)))
    minimum_ml = 50 * 0.7 * 0.9 * 1.3 / 1000
    after = apply_rules(before, ORGAN_AND_TUMOUR, [Rule(label="tumour", minimum_ml=minimum_ml)])
    assert np.count_nonzero(after.array) == 50
    assert after.array[2, 2, 2] == 2


def test_largest_below_the_minimum_goes_too():
    geometry = oblique_geometry()
    before = segmentation_of(geometry, ball(geometry, centre_of(geometry), 5))
    rule = Rule(label="organ", keep_largest=True, minimum_ml=1.0)
    assert not apply_rules(before, ORGAN_AND_TUMOUR, [rule]).array.any()


def test_nothing_to_remove_gives_the_same_object_and_empty_masks_stay():
    geometry = oblique_geometry()
    mask = segmentation_of(geometry, ball(geometry, centre_of(geometry), 5))
    assert apply_rules(mask, ORGAN_AND_TUMOUR, [Rule(label="organ", keep_largest=True)]) is mask
    empty = segmentation_of(geometry)
    assert apply_rules(empty, ORGAN_AND_TUMOUR, [Rule(label="organ", minimum_ml=1)]) is empty


def test_removed_voxels_stay_in_their_other_regions():
    assert find_substitutes(BRAIN, "enhancing") == {3: 2}
    assert find_substitutes(BRAIN, "core") == {2: 1, 3: 1}
    assert find_substitutes(BRAIN, "whole") == {1: 0, 2: 0, 3: 0}
    assert find_substitutes(LabelScheme.make({"liver": (1, 2), "tumour": 2}), "tumour") == {2: 1}
    assert find_substitutes(ORGAN_AND_TUMOUR, "tumour") == {2: 0}


def test_small_enhancing_spot_becomes_core():
    array = np.zeros((12, 12, 12), np.uint8)
    array[1:10, 1:10, 1:10] = 1
    array[2:9, 2:9, 2:9] = 2
    expected = array.copy()
    array[5, 5, 5] = 3
    before = Segmentation(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    after = apply_rules(before, BRAIN, [Rule(label="enhancing", minimum_ml=0.01)])
    assert np.array_equal(after.array, expected)


def test_unknown_label_is_refused_by_name():
    with pytest.raises(PlanError, match="'liver' fits none of the labels organ, tumour"):
        apply_rules(segmentation_of(oblique_geometry()), ORGAN_AND_TUMOUR, [Rule(label="liver")])


@given(hnp.arrays(np.uint8, (5, 6, 4), elements=st.integers(0, 3)), st.integers(1, 8), st.booleans())
def test_agrees_with_scipy_on_noise(array, minimum_voxels, keep_largest):
    array[0, 0, 0] = array[-1, -1, -1] = 2
    labels = LabelScheme.make({"a": 1, "b": 2, "c": 3})
    rule = Rule(label="b", keep_largest=keep_largest, minimum_ml=minimum_voxels / 1000)
    after = apply_rules(Segmentation(array, Geometry.from_spacing(array.shape, (1, 1, 1))), labels, [rule]).array
    found, count = ndimage.label(array == 2, np.ones((3, 3, 3)))
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    kept = [n for n in range(1, count + 1) if sizes[n - 1] >= minimum_voxels]
    if keep_largest:
        kept = [n for n in kept if n == 1 + int(np.argmax(sizes))]
    assert np.array_equal(after, np.where((array == 2) & ~np.isin(found, kept), 0, array))


def test_rules_follow_one_another():
    geometry = oblique_geometry()
    middle = centre_of(geometry)
    before = segmentation_of(geometry, lesions(geometry, [(middle, 4), (middle + np.array([12, 0, 0]), 3)]))
    rules = [Rule(label="organ", keep_largest=True), Rule(label="organ", minimum_ml=1.0)]
    assert not apply_rules(before, ORGAN_AND_TUMOUR, rules).array.any()
