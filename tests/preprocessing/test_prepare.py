"""Scans as the network sees them."""

import numpy as np
import pytest

from medseg.core.errors import PlanError
from medseg.core.plan import NormalisationPlan
from medseg.core.volume import Volume
from medseg.grids import resample_array
from medseg.preprocessing import prepare_case
from tests.preprocessing.examples import make_plan, make_scan

ZSCORE = NormalisationPlan(scheme="zscore")
NONE = NormalisationPlan(scheme="none")


def test_axes_crop_and_integers_are_kept_where_nothing_is_resampled() -> None:
    volume, segmentation = make_scan()
    plan, configuration = make_plan((1.0, 1.0, 1.0), (NONE,))
    prepared = prepare_case(volume, segmentation, plan, configuration)
    expected = volume.array[0, 2:19, 3:23, 4:13].transpose(2, 0, 1)
    assert prepared.stored.dtype == np.int16
    assert np.array_equal(prepared.image[0], expected)
    assert np.array_equal(prepared.reference, segmentation.array[2:19, 3:23, 4:13].transpose(2, 0, 1))
    assert prepared.grid.crop_start == (4, 2, 3)
    assert prepared.grid.to_geometry().same_grid(volume.geometry)


def test_shape_after_resampling_and_kept_spacing() -> None:
    volume, segmentation = make_scan(spacing_mm=(0.7, 0.9, 2.0))
    plan, configuration = make_plan((None, 1.0, 0.5), (ZSCORE,))
    prepared = prepare_case(volume, segmentation, plan, configuration)
    assert prepared.grid.cropped_shape == (9, 17, 20)
    assert prepared.image.shape == (1, 9, round(17 * 0.7), round(20 * 0.9 / 0.5))
    assert prepared.reference is not None
    assert prepared.reference.shape == prepared.image.shape[1:]
    assert prepared.image.dtype == np.float32
    box = volume.array[0, 2:19, 3:23, 4:13].transpose(2, 0, 1).astype(np.float32)
    normal = ((box - box.mean()) / box.std())[None]
    assert np.allclose(prepared.image, resample_array(normal, (9, 12, 36), coarse_axis=0), atol=1e-4)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_zscore_inside_the_body(spacing_mm: tuple[float, float, float], kind: type) -> None:
    volume, _ = make_scan(channels=2, kind=kind)
    array = volume.array.copy()
    array[:, 5:12, 6:12, 5:9] = 0  # an enclosed hole belongs to the body
    array[0, 2:5] = 0
    array[:, 15:, 15:] = 0  # a corner of air inside the box
    if kind is np.float32:
        array[array > 0] += 0.25
    inside_mask = NormalisationPlan(scheme="zscore", inside_mask=True)
    plan, configuration = make_plan(spacing_mm, (inside_mask, ZSCORE), axis_order=(0, 1, 2))
    prepared = prepare_case(Volume(array, volume.geometry, volume.channels), None, plan, configuration)
    box = array[:, 2:19, 3:23, 4:13].astype(float)
    inside = (box != 0).any(axis=0)
    inside[3:10, 3:9, 1:5] = True
    first = np.where(inside, (box[0] - box[0][inside].mean()) / box[0][inside].std(), 0.0)
    second = (box[1] - box[1].mean()) / box[1].std()
    expected = resample_array(np.stack([first, second]), prepared.grid.resampled_shape)
    assert np.allclose(prepared.image, expected, atol=1e-4)
    assert (prepared.stored.dtype == np.int16) == (kind is np.uint16 and spacing_mm[0] == 1.0)


def test_ignore_and_large_values_survive() -> None:
    volume, segmentation = make_scan(values=(1, 255))
    plan, configuration = make_plan((1.4, 1.4, 1.4), (ZSCORE,))
    prepared = prepare_case(volume, segmentation, plan, configuration)
    assert prepared.reference is not None
    assert set(np.unique(prepared.reference)) == {0, 1, 255}


def test_an_empty_scan_and_a_picture() -> None:
    volume, segmentation = make_scan(shape=(30, 40, 1))
    plan, configuration = make_plan((None, 1.0, 1.0), (ZSCORE,), dimensions=2)
    blank = Volume(np.zeros_like(volume.array), volume.geometry, volume.channels)
    prepared = prepare_case(blank, segmentation, plan, configuration)
    assert prepared.image.shape == (1, 1, 30, 40)
    assert np.all(prepared.image == 0.0)


def test_another_number_of_channels_is_refused() -> None:
    volume, segmentation = make_scan(channels=2)
    plan, configuration = make_plan((1.0, 1.0, 1.0), (ZSCORE,))
    with pytest.raises(PlanError, match="2 channels, the plan expects 1"):
        prepare_case(volume, segmentation, plan, configuration)
