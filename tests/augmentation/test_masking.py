"""Channels that are 0 outside the object stay so."""

import pytest
import torch

from medseg.augmentation import AUGMENTATIONS, DEFAULT_AUGMENTATIONS, Scene, augment_batch, enlarge_patch
from medseg.augmentation.masking import OUTSIDE, mark_outside
from tests.augmentation.examples import make_generators

SCENE = Scene((12, 14, 16), 2, False, (0, 1, 2), masked_channels=(0,))
COUNT = 24


def make_balls() -> tuple[torch.Tensor, torch.Tensor]:
    """An object in the middle, 0 around it in channel 0 and noise in channel 1, and a label inside."""
    size = enlarge_patch(SCENE.patch_size, flat_rotation=False)
    axes = [torch.arange(length) - (length - 1) / 2 for length in size]
    distance = sum((axis**2).reshape([-1 if n == i else 1 for n in range(3)]) for i, axis in enumerate(axes)).sqrt()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(COUNT, 2, *size, generator=generator) + 2
    images[:, 0][:, distance > 5.5] = 0
    return images, (distance < 3).to(torch.uint8).expand(COUNT, *size).contiguous()


@pytest.mark.parametrize("names", [None, ("noise", "gamma", "contrast"), ("elastic", "noise", "mirror")])
def test_the_outside_is_zero_in_masked_channels_alone(names: tuple[str, ...] | None) -> None:
    images, labels = make_balls()
    chosen = DEFAULT_AUGMENTATIONS if names is None else [AUGMENTATIONS.get(name) for name in names]
    if names and "elastic" not in names:
        images, labels = images[..., 2:-2, 2:-2, 2:-2].clone(), labels[..., 2:-2, 2:-2, 2:-2].clone()
    changed, moved = augment_batch(images, labels, make_generators(COUNT), SCENE, chosen)
    assert moved.dtype == torch.uint8
    assert set(moved.unique().tolist()) == {0, 1}
    corners = changed[:, :, ::11, ::13, ::15].flatten(2)
    assert (corners[:, 0] == 0).all()
    assert (corners[:, 1] != 0).float().mean() > 0.9
    assert (changed[:, 0] != 0).float().mean() > 0.1  # the object itself is still there


def test_labels_outside_the_object_stay_labels() -> None:
    images = torch.zeros(1, 2, 2, 3)
    images[0, 1] = 5.0
    labels = torch.tensor([[[0, 4, 0], [0, 0, 255]]], dtype=torch.uint8)
    marked = mark_outside(images, labels, (0,))
    assert marked.tolist() == [[[OUTSIDE, 4, OUTSIDE], [OUTSIDE, OUTSIDE, 255]]]
    assert mark_outside(images, labels, (0, 1)).tolist() == labels.tolist()  # something is there in channel 1
    assert mark_outside(images, labels, ()) is labels


def test_the_outside_is_found_beside_an_edge_that_rings() -> None:
    line = torch.zeros(1, 1, 1, 40, dtype=torch.float32)
    line[..., :10] = 1.0
    line[..., 10:] = 0.2 * (-0.268) ** torch.arange(1, 31)
    marked = mark_outside(line, torch.zeros(1, 1, 40, dtype=torch.uint8), (0,))
    assert (marked[..., 17:] == OUTSIDE).all()
    assert (marked[..., :12] == 0).all()
