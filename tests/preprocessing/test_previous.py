"""A cascade's first stage as input of the second."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.plan import NormalisationPlan
from medseg.core.volume import Segmentation, Volume
from medseg.preprocessing import find_body, prepare_case, prepare_previous
from tests.preprocessing.examples import REGIONS, make_plan, make_scan

PLAIN = (NormalisationPlan(scheme="none"),)


def test_each_value_has_a_channel_of_its_own() -> None:
    volume, mask = make_scan()
    plan, configuration = make_plan((1.0, 1.0, 1.0), PLAIN, axis_order=(2, 1, 0))
    prepared = prepare_case(volume, mask, plan, configuration)
    channels = prepare_previous(mask, prepared.grid, plan.labels, find_body(volume, prepared.grid))
    assert channels.dtype == np.float32
    assert channels.shape == (2, *prepared.grid.resampled_shape)
    assert prepared.reference is not None
    for channel, value in zip(channels, (1, 3), strict=True):  # the ignore label has none
        assert np.array_equal(channel == 1, prepared.reference == value)
        assert set(np.unique(channel)) == {0.0, 1.0}


def test_regions_are_given_by_value() -> None:
    volume, mask = make_scan(values=(1, 2))
    plan, configuration = make_plan((1.0, 1.0, 1.0), PLAIN, labels=REGIONS)
    prepared = prepare_case(volume, mask, plan, configuration)
    channels = prepare_previous(mask, prepared.grid, REGIONS, find_body(volume, prepared.grid))
    assert prepared.reference is not None
    assert np.array_equal(channels, [prepared.reference == value for value in (1, 2)])


def test_outside_the_body_counts_as_a_label_of_its_own() -> None:
    # Four voxels become one: two of the label, one background, one outside. The label's share of a half is a tie with
    # the other two together, which the nearest voxel, background, would win; but it is more than each of them.
    labels = LabelScheme.make({"organ": 1, "other": 2})
    array = np.full((1, 4, 4, 1), 5, np.int16)
    array[0, 1:, 0] = 0
    volume = Volume(array, Geometry.from_spacing((4, 4, 1), (1.0, 1.0, 1.0)), ("c0",))
    plan, configuration = make_plan((2.0, 2.0, 1.0), PLAIN, axis_order=(0, 1, 2), labels=labels)
    grid = prepare_case(volume, None, plan, configuration).grid
    assert grid.resampled_shape == (2, 2, 1)
    body = find_body(volume, grid)
    assert not body[1:, 0].any()
    values = np.zeros((4, 4, 1), np.uint8)
    values[2, 1, 0] = values[3, 0, 0] = 1
    mask = Segmentation(values, volume.geometry)
    assert prepare_previous(mask, grid, labels, body)[0, 1, 0, 0] == 1
    assert prepare_previous(mask, grid, labels, np.ones_like(body))[0, 1, 0, 0] == 0


@pytest.mark.parametrize("hole", [True, False])
def test_holes_belong_to_the_body(hole: bool) -> None:
    array = np.ones((1, 5, 5, 5), np.int16)
    array[0, 2, 2, 2] = 0 if hole else 1
    volume = Volume(array, Geometry.from_spacing((5, 5, 5), (1.0, 1.0, 1.0)), ("c0",))
    plan, configuration = make_plan((1.0, 1.0, 1.0), PLAIN)
    assert find_body(volume, prepare_case(volume, None, plan, configuration).grid).all()
