"""Resampling of label maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from medseg.grids import resample_labels

sizes = st.tuples(*[st.integers(1, 10)] * 3)


@given(sizes, sizes, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_largest_linear_share_wins(shape: tuple[int, int, int], wanted: tuple[int, int, int], seed: int) -> None:
    labels = np.random.default_rng(seed).choice([0, 2, 5, 255], p=[0.6, 0.2, 0.1, 0.1], size=shape).astype(np.uint8)
    result = resample_labels(labels, wanted, [0, 2, 5, 255])
    assert result.dtype == np.uint8
    assert result.shape == wanted
    options = {"mode": "edge", "anti_aliasing": False, "preserve_range": True}
    shares = {value: resize((labels == value).astype(float), wanted, 1, **options) for value in (0, 2, 5, 255)}
    best = np.max(list(shares.values()), axis=0)
    for value, share in shares.items():
        assert np.all(share[result == value] >= best[result == value] - 2e-6)


def test_a_tie_goes_to_the_nearest_voxel_else_to_the_lowest() -> None:
    labels = np.array([1, 1, 2, 2], np.uint8).reshape(1, 1, 4)
    assert resample_labels(labels, (1, 1, 2), [0, 1, 2]).ravel().tolist() == [1, 2]
    # Halving an axis samples exactly between two voxels; the later of the two is taken as the nearest.
    assert resample_labels(np.array([3, 1], np.uint8).reshape(1, 1, 2), (1, 1, 1), [1, 3]).item() == 1
    assert resample_labels(np.array([1, 3], np.uint8).reshape(1, 1, 2), (1, 1, 1), [1, 3]).item() == 3
    # Shares 3/8 of 1, 3/8 of 2, 2/8 of 3, and the nearest voxel is a 3.
    corner = np.array([3, 1, 1, 1, 2, 2, 2, 3], np.uint8).reshape(2, 2, 2)
    assert resample_labels(corner, (1, 1, 1), [1, 2, 3]).item() == 1


def test_same_shape_and_single_label() -> None:
    labels = np.full((3, 4, 5), 9, np.uint16)
    assert resample_labels(labels, (3, 4, 5), [0, 9]) is labels
    assert np.array_equal(resample_labels(labels, (6, 2, 5), [0, 9]), np.full((6, 2, 5), 9))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_label_leaks_along_a_coarse_axis(axis: int) -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[(slice(None),) * axis + (1,)] = 1
    wanted = [4, 4, 4]
    wanted[axis] = 12
    profile = resample_labels(labels, wanted, [0, 1], coarse_axis=axis).any(axis=tuple({0, 1, 2} - {axis}))
    assert np.flatnonzero(profile).tolist() == [3, 4, 5]
