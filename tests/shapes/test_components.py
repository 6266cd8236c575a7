"""Components against scipy's labelling, and the order of their numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.shapes.boxes import bound_mask
from medseg.shapes.components import find_components

RANK = {6: 1, 18: 2, 26: 3}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([6, 18, 26]), st.floats(0.0, 0.6), st.sampled_from(["C", "F"]))
def test_agrees_with_scipy_and_numbers_by_size_then_first_voxel(seed, connectivity, density, order):
    rng = np.random.default_rng(seed)
    mask = np.asarray(rng.random(rng.integers(1, 9, 3)) < density, order=order)
    components, count = find_components(mask, connectivity=connectivity)
    expected, expected_count = ndimage.label(mask, ndimage.generate_binary_structure(3, RANK[connectivity]))
    assert components.dtype == np.int32
    assert count == expected_count
    assert np.array_equal(components > 0, mask)
    # scipy numbers by first voxel, so a stable sort by falling size gives the expected numbers
    sizes = np.bincount(expected.ravel(), minlength=count + 1)[1:]
    for number, old in enumerate(np.argsort(-sizes, kind="stable") + 1, start=1):
        assert np.array_equal(components == number, expected == old)


def test_connectivity_decides_what_touches():
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1
    assert find_components(mask)[1] == 1
    assert find_components(mask, connectivity=18)[1] == 2
    mask[1, 1, 1], mask[0, 1, 1] = 0, 1
    assert find_components(mask, connectivity=18)[1] == 1
    assert find_components(mask, connectivity=6)[1] == 2


def test_empty_mask_and_picture():
    components, count = find_components(np.zeros((4, 5, 1), bool))
    assert count == 0
    assert components.shape == (4, 5, 1)
    assert not components.any()
    picture = np.zeros((4, 5, 1), np.uint8)
    picture[0, 0] = 255
    picture[2:, 2:] = 255
    components, count = find_components(picture)
    assert count == 2
    assert components[0, 0, 0] == 2
    assert components[3, 4, 0] == 1


def test_refuses_other_shapes_and_connectivities():
    with pytest.raises(ValueError, match="axes"):
        find_components(np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="connectivity"):
        find_components(np.ones((3, 3, 3), bool), connectivity=8)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_box_is_the_smallest_around_the_mask(seed, axes):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 6, axes)) < 0.1
    box = bound_mask(mask)
    places = np.argwhere(mask)
    if box is None:
        assert not len(places)
        return
    assert [span.start for span in box] == places.min(axis=0).tolist()
    assert [span.stop for span in box] == (places.max(axis=0) + 1).tolist()


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 9), (3, 3, 1), (1, 5, 7)])
def test_thin_speckled_masks_have_their_components(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = rng.random(shape) < 0.6
        for connectivity, structure in ((6, 1), (18, 2), (26, 3)):
            expected = ndimage.label(mask, ndimage.generate_binary_structure(3, structure))[1]
            assert find_components(mask, connectivity=connectivity)[1] == expected
