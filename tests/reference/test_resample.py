"""Resampling against nnU-Net's own code."""

import numpy as np
import pytest

from medseg.grids import resample_array, resample_labels

nnunet = pytest.importorskip(
    "nnunetv2.preprocessing.resampling.default_resampling", reason="nnunetv2 (bench group) is not installed"
)

CASES = [
    ((24, 40, 44), None),
    ((6, 20, 22), None),
    ((17, 55, 31), None),
    ((24, 33, 60), 0),
    ((6, 20, 22), 1),
    ((17, 55, 31), 2),
]


@pytest.mark.parametrize(("wanted", "axis"), CASES)
def test_images_equal_nnunets(wanted: tuple[int, int, int], axis: int | None) -> None:
    image = np.random.default_rng(3).normal(size=(2, 12, 40, 44)).astype(np.float32)
    expected = nnunet.resample_data_or_seg(image, wanted, False, axis, 3, axis is not None, 0)
    result = resample_array(image, wanted, coarse_axis=axis)
    assert np.abs(result - expected).max() < 1e-6 * np.ptp(image)


@pytest.mark.parametrize(("wanted", "axis"), CASES)
def test_label_maps_equal_nnunets(wanted: tuple[int, int, int], axis: int | None) -> None:
    from scipy import ndimage

    field = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(12, 40, 44)), 2)
    labels = np.digitize(field, np.quantile(field, [0.5, 0.8, 0.9])).astype(np.int16)
    expected = nnunet.resample_data_or_seg(labels[None], wanted, True, axis, 1, axis is not None, 0)[0]
    result = resample_labels(labels.astype(np.uint8), wanted, range(4), coarse_axis=axis)
    # Samples exactly between two voxels are decided by the rounding of the last bit there, by a rule here.
    assert np.mean(result != expected) < 1e-3
