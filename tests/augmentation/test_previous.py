"""Worsened masks of a cascade's first stage."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import ball, disk

from medseg.augmentation import Scene
from medseg.augmentation.previous import (
    OPERATIONS,
    RADIUS_VOXELS,
    Change,
    Changes,
    Removal,
    apply_changes,
    apply_removals,
    draw_changes,
    draw_removals,
)
from tests.augmentation.examples import make_generators

SCENE = Scene((8, 9, 10), 1, False, (), previous_values=(1, 2, 3))
LABELS = torch.zeros(1, 1, dtype=torch.uint8)


def make_mask(size: tuple[int, ...]) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=size), 2) > 0.02


@pytest.mark.parametrize("size", [(30, 26), (14, 18, 20)])
@pytest.mark.parametrize("radius", [1, 2, 3])
def test_operations_equal_scipy(size: tuple[int, ...], radius: int) -> None:
    mask = make_mask(size)
    around = (disk if len(size) == 2 else ball)(radius)
    grown = ndimage.binary_dilation(mask, around)
    shrunk = ndimage.binary_erosion(mask, around, border_value=1)
    expected = {
        "dilate": grown,
        "erode": shrunk,
        "close": ndimage.binary_erosion(grown, around, border_value=1),
        "open": ndimage.binary_dilation(shrunk, around),
    }
    assert set(OPERATIONS) == set(expected)
    for name, operation in OPERATIONS.items():
        assert np.array_equal(operation(torch.from_numpy(mask), radius + 0.1).numpy(), expected[name]), name


@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_stay_so(name: str, value: bool) -> None:
    mask = torch.full((5, 6, 7), value)
    assert torch.equal(OPERATIONS[name](mask, 8.0), mask)


def test_what_a_mask_gains_the_others_lose() -> None:
    images = torch.zeros(1, 4, 8, 9, 10)
    images[0, 0] = 7.0
    images[0, 1, :4], images[0, 2, 4:6], images[0, 3, 6:] = 1, 1, 1
    changed, _ = apply_changes(images.clone(), LABELS, [Changes((Change(1, "dilate", 2.5),), (1, 4))])
    assert torch.equal(changed[0, 0], images[0, 0])
    assert changed[0, 1:].amax(dim=(2, 3)).tolist() == [
        [1, 1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 1],
    ]


def test_one_small_component_goes() -> None:
    images = torch.zeros(1, 2, 10, 10, 10)
    images[0, 1, :5], images[0, 1, 7, 1:3, 1:3], images[0, 1, 9, 9, 9] = 1, 1, 1  # half the patch, 4 voxels, 1 voxel
    for place, left in ((0.0, 501), (0.49, 501), (0.5, 504), (0.99, 504)):
        changed, _ = apply_removals(images.clone(), LABELS, [(Removal(1, place),)])
        assert int(changed.sum()) == left
    changed, _ = apply_removals(images[:, :, :5].clone(), LABELS, [(Removal(1, 0.5),)])
    assert torch.equal(changed, images[:, :, :5])  # too large to go


def test_pictures_have_components_too() -> None:
    images = torch.zeros(1, 2, 10, 10)
    images[0, 1, 1, 1], images[0, 1, 2, 2] = 1, 1  # one component: corners touch
    changed, _ = apply_removals(images.clone(), LABELS, [(Removal(1, 0.3),)])
    assert int(changed.sum()) == 0


def test_drawn_changes_and_removals() -> None:
    changes = [drawn for rng in make_generators(2000) if (drawn := draw_changes(rng, SCENE)) is not None]
    removals = [drawn for rng in make_generators(2000) if (drawn := draw_removals(rng, SCENE)) is not None]
    # Of three masks none is chosen in one of eight cases.
    assert len(changes) / 2000 == pytest.approx(0.4 * 7 / 8, abs=0.03)
    assert len(removals) / 2000 == pytest.approx(0.2 * 7 / 8, abs=0.03)
    every = [change for drawn in changes for change in drawn.changes]
    assert {change.channel for change in every} == {1, 2, 3}
    assert {change.operation for change in every} == set(OPERATIONS)
    radii = [change.radius for change in every]
    assert RADIUS_VOXELS[0] <= min(radii) < 1.2 < 7.8 < max(radii) <= RADIUS_VOXELS[1]
    assert {drawn.channels for drawn in changes} == {(1, 4)}
    assert {drawn.changes[0].channel for drawn in changes} == {1, 2, 3}  # in random order
    assert {removal.channel for drawn in removals for removal in drawn} == {1, 2, 3}
