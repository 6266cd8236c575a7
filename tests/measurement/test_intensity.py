"""Statistics of intensities against numpy, and how a channel's unit is known."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.measurement.intensity import PERCENTILES, settle_scales, summarise_values

GEOMETRY = Geometry.from_spacing((4, 5, 6), (1, 1, 1))


def scale_of(channel, values):
    array = np.resize(np.asarray(values, np.float32), (1, *GEOMETRY.shape))
    (scale,) = settle_scales(Volume(array, GEOMETRY, (channel,)))
    return scale


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_statistics_are_those_of_numpy(dtype):
    values = np.random.default_rng(0).uniform(0, 200, 1001).astype(dtype)
    found, exact = summarise_values(values), values.astype(np.float64)
    assert found.mean == pytest.approx(exact.mean())
    assert found.sd == pytest.approx(exact.std())
    assert (found.median, found.minimum, found.maximum) == (np.median(exact), exact.min(), exact.max())
    assert found.percentiles == pytest.approx([np.percentile(exact, share) for share in PERCENTILES])


def test_nothing_is_known_of_no_voxel_and_of_unknown_ones():
    assert summarise_values(np.zeros(0)) is None
    assert summarise_values(np.array([1.0, np.nan])) is None
    assert summarise_values(np.array([1.0, np.inf])) is None


@pytest.mark.parametrize(
    ("channel", "values", "unit", "pet"),
    [
        ("CT", (-1000, 40, 900), "HU", False),
        ("ct", (-1000, 40, 900), "HU", False),
        ("CT", (24, 1064, 1900), "", False),  # an offset of 1024 may have been left out
        ("PET", (0, 1.5, 12.7), "SUV", True),
        ("PT", (-0.2, 1.5, 12.7), "SUV", True),
        ("PET", (0, 5000, 43000), "", True),  # Bq/ml
        ("PET", (-3, 0, 4), "", True),  # z-scores
        ("PET", (0, np.nan, 4), "", True),
        ("SUV", (0, 1, 5000), "SUV", True),
        ("pet_SUVbw", (0, 1, 9), "SUV", True),
        ("T1", (0, 100, 900), "", False),
        ("channel_0", (-1000, 40, 900), "", False),
        ("SUVR", (0, 1, 2), "", False),  # a ratio to a reference region
        ("DCT", (-1000, 40, 900), "", False),
        ("target", (0, 1, 2), "", False),
    ],
)
def test_unit_by_name_unless_the_values_contradict_it(channel, values, unit, pet):
    scale = scale_of(channel, values)
    assert (scale.channel, scale.unit, scale.is_pet) == (channel, unit, pet)
    assert scale.reason
