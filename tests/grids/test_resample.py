"""Resampling against scikit-image and against what must hold for any image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from medseg.grids import choose_coarse_axis, find_coarse_axis, resample_array
from medseg.grids.spline import make_blocks

SHAPES = [
    ((20, 30, 25), (33, 17, 25)),
    ((1, 40, 41), (1, 80, 20)),
    ((5, 130, 70), (9, 50, 200)),
    ((2, 3, 4), (7, 8, 9)),
    ((1, 1, 5), (3, 2, 6)),
]
sizes = st.tuples(*[st.integers(1, 12)] * 3)


def resize_with_skimage(array: np.ndarray, shape: tuple[int, ...], order: int) -> np.ndarray:
    options = {"mode": "edge", "clip": True, "anti_aliasing": False, "preserve_range": True}
    return np.stack([resize(channel.astype(float), shape, order, **options) for channel in array])


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_equals_skimage(shape: tuple[int, ...], wanted: tuple[int, ...], order: int) -> None:
    array = np.random.default_rng(0).normal(50, 100, size=(2, *shape))
    expected = resize_with_skimage(array, wanted, order)
    span = np.ptp(array)
    exact = resample_array(array, wanted, order=order, exact=True)
    fast = resample_array(array, wanted, order=order)
    assert (exact.dtype, fast.dtype) == (np.float64, np.float32)
    assert np.abs(exact - expected).max() < 1e-12 * span
    assert np.abs(fast - expected).max() < 1e-6 * span


def test_axis_matrix_is_scipys_operator() -> None:
    for n_in, n_out in [(1, 4), (2, 7), (40, 33), (30, 90), (300, 117)]:
        matrix = np.zeros((n_out, n_in))
        for block in make_blocks(n_in, n_out, 3, True, 0, n_out):
            matrix[block.start : block.stop, block.first : block.last] = block.weights
        for column in range(0, n_in, max(1, n_in // 7)):
            unit = np.zeros(n_in)
            unit[column] = 1.0
            expected = ndimage.zoom(unit, n_out / n_in, order=3, mode="nearest", grid_mode=True)
            assert np.abs(matrix[:, column] - expected).max() < 1e-12


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_coarse_axis_takes_the_nearest_slice(axis: int) -> None:
    array = np.random.default_rng(1).normal(size=(1, 6, 14, 15)).astype(np.float32)
    wanted = (11, 20, 9)
    result = resample_array(array, wanted, coarse_axis=axis)[0]
    plane = tuple(np.delete(wanted, axis))
    nearest = np.clip(np.floor((np.arange(wanted[axis]) + 0.5) * array.shape[1 + axis] / wanted[axis]), 0, None)
    for index, source in enumerate(nearest.astype(int)):
        expected = resize_with_skimage(array[0].take([source], axis=axis).squeeze(axis)[None], plane, 3)[0]
        assert np.abs(result.take(index, axis=axis) - expected).max() < 1e-5


@given(sizes, sizes, st.sampled_from([1, 3]), st.sampled_from([None, 0, 1, 2]))
@settings(max_examples=40, deadline=None)
def test_constant_stays_constant_and_range_is_kept(
    shape: tuple[int, int, int], wanted: tuple[int, int, int], order: int, coarse_axis: int | None
) -> None:
    constant = np.full((1, *shape), -7.25, np.float32)
    assert np.allclose(resample_array(constant, wanted, order=order, coarse_axis=coarse_axis), -7.25, atol=2e-6)
    noise = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    result = resample_array(noise, wanted, order=order, coarse_axis=coarse_axis)
    assert result.shape == (1, *wanted)
    assert noise.min() - 1e-6 <= result.min()
    assert result.max() <= noise.max() + 1e-6


def test_same_shape_returns_the_same_array() -> None:
    array = np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4)
    array.setflags(write=False)
    assert resample_array(array, (2, 3, 4)) is array
    assert resample_array(array, (4, 3, 4)).shape == (1, 4, 3, 4)


def test_coarse_axis_rule() -> None:
    assert find_coarse_axis((1.0, 1.0, 1.0)) is None
    assert find_coarse_axis((3.0, 1.0, 1.0)) is None
    assert find_coarse_axis((3.1, 1.0, 1.0)) == 0
    assert find_coarse_axis((0.24, 1.25, 1.25)) is None
    assert find_coarse_axis((0.24, 1.25, 1.2500001)) is None  # as an affine in float32 gives them back
    assert choose_coarse_axis((1.0, 1.0, 1.0), (1.0, 5.0, 1.0)) == 1
    assert choose_coarse_axis((0.24, 1.25, 1.25), (5.0, 1.0, 1.0)) is None
