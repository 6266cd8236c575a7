"""A look at few voxels tells what all of them would."""

import numpy as np
import pytest

from medseg.fingerprint.scan import SAMPLES_PER_AXIS, describe_scan, thin_scan


@pytest.mark.parametrize("shape", [(1, 1, 1), (39, 40, 41), (79, 80, 81), (512, 100, 7)])
def test_few_voxels_of_every_axis(shape: tuple[int, int, int]) -> None:
    array = np.broadcast_to(np.zeros((), np.uint8), (2, *shape))
    view, steps = thin_scan(array)
    for length, kept, step in zip(shape, view.shape[1:], steps, strict=True):
        assert kept == -(-length // step)
        assert min(length, SAMPLES_PER_AXIS) <= kept < 2 * SAMPLES_PER_AXIS
    assert view.shape[0] == 2


def test_percentiles_of_what_is_not_zero() -> None:
    values = np.random.default_rng(0).normal(300, 50, (2, 90, 80, 30)).astype(np.float32)
    values[:, :40] = 0
    values[1] = 0
    found, empty = describe_scan(values)
    assert empty is None
    assert found is not None
    inside = values[0, 40:]
    expected = np.percentile(inside, (0.5, 50, 99.5))
    assert [found.percentile_00_5, found.median, found.percentile_99_5] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_small_scans_are_seen_whole(dtype: type) -> None:
    values = np.arange(27).reshape(1, 3, 3, 3).astype(dtype)
    (found,) = describe_scan(values)
    assert found is not None
    assert found.median == 13.5
