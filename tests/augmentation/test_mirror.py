"""Flips, and what becomes of left and right."""

import numpy as np
import pytest
import torch

from medseg.augmentation import Scene
from medseg.augmentation.mirror import Flips, apply_flips, draw_flips
from tests.augmentation.examples import make_batch, make_generators, make_scene


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_flips_equal_numpy_and_twice_is_nothing(axes: tuple[int, ...]) -> None:
    images, labels = make_batch(make_scene("3d"), count=2, enlarged=False)
    parameters = [Flips(axes), None]
    flipped, flipped_labels = apply_flips(images.clone(), labels.clone(), parameters)
    assert np.array_equal(flipped[0].numpy(), np.flip(images[0].numpy(), [axis + 1 for axis in axes]))
    assert np.array_equal(flipped_labels[0].numpy(), np.flip(labels[0].numpy(), axes))
    assert torch.equal(flipped[1], images[1])
    again, again_labels = apply_flips(flipped, flipped_labels, parameters)
    assert torch.equal(again, images)
    assert torch.equal(again_labels, labels)


def test_flips_keep_to_their_axes() -> None:
    drawn = [draw_flips(rng, Scene((8, 8, 8), 1, False, (0, 2))) for rng in make_generators(200)]
    assert {flips.axes if flips else None for flips in drawn} == {None, (0,), (2,), (0, 2)}
    assert all(draw_flips(rng, Scene((8, 8, 8), 1, False, ())) is None for rng in make_generators(20))


def test_sides_change_places_only_where_their_axis_is_flipped() -> None:
    scene = Scene(
        (8, 8, 8), 2, False, (0, 1, 2), side_axis=1, side_pairs=((1, 2), (5, 7)), previous_values=(1, 2, 5, 6, 7)
    )
    for rng in make_generators(60):
        flips = draw_flips(rng, scene)
        if flips is not None:
            swapped = 1 in flips.axes
            assert flips.value_pairs == (scene.side_pairs if swapped else ())
            assert flips.channel_pairs == (((2, 3), (4, 6)) if swapped else ())


def test_a_body_with_two_sides_looks_the_same_flipped_and_swapped() -> None:
    # Two organs, mirror images of each other: 1 on the left, 2 on the right; 3 in the middle has no side.
    labels = torch.zeros(1, 4, 10, 6, dtype=torch.uint8)
    labels[0, 1:3, 1:3, 1:4], labels[0, 1:3, 7:9, 1:4], labels[0, :, 4:6] = 1, 2, 3
    masks = torch.stack([labels == value for value in (1, 2, 3)], dim=1).float()
    flips = Flips((1,), ((1, 2),), ((0, 1),))
    images, after = apply_flips(masks.clone(), labels.clone(), [flips])
    assert torch.equal(after, labels)
    assert torch.equal(images, masks)
    unswapped, before = apply_flips(masks.clone(), labels.clone(), [Flips((1,))])
    assert not torch.equal(before, labels)
    assert not torch.equal(unswapped, masks)
