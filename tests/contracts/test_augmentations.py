"""What every registered augmentation does."""

import json

import numpy as np
import pytest
import torch

from medseg.augmentation import AUGMENTATIONS, augment_batch
from medseg.augmentation.spatial import Transform
from tests.augmentation.examples import PATCHES, VALUES, make_batch, make_generators, make_scene

COUNT = 30  # of samples, so that even a rare change comes up

pytestmark = [pytest.mark.parametrize("name", list(AUGMENTATIONS)), pytest.mark.parametrize("kind", list(PATCHES))]


def augment(name: str, kind: str, seed: int = 0, rows: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    scene, augmentation = make_scene(kind, previous=True), AUGMENTATIONS.get(name)
    images, labels = make_batch(scene, count=COUNT, enlarged=augmentation.cuts)
    generators = make_generators(COUNT, seed)[rows]
    return augment_batch(images[rows].clone(), labels[rows].clone(), generators, scene, [augmentation])


def test_patches_keep_size_type_values_and_are_finite(name: str, kind: str) -> None:
    images, labels = augment(name, kind)
    assert tuple(images.shape) == (COUNT, 5, *PATCHES[kind])
    assert tuple(labels.shape) == (COUNT, *PATCHES[kind])
    assert images.dtype == torch.float32
    assert labels.dtype == torch.uint8
    assert torch.isfinite(images).all()
    assert set(labels.unique().tolist()) <= set(VALUES)
    assert set(images[:, 2:].unique().tolist()) <= {0.0, 1.0}  # masks stay masks, and no voxel is in two of them
    assert images[:, 2:].sum(1).max() <= 1


def test_the_generators_decide_the_change(name: str, kind: str) -> None:
    first, again, other = augment(name, kind), augment(name, kind), augment(name, kind, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_sample_does_not_depend_on_the_others(name: str, kind: str) -> None:
    whole, part = augment(name, kind), augment(name, kind, rows=slice(7, 23))
    assert torch.allclose(whole[0][7:23], part[0], atol=1e-6)
    assert torch.equal(whole[1][7:23], part[1])


def test_without_parameters_the_patch_stays_as_it_is(name: str, kind: str) -> None:
    augmentation, scene = AUGMENTATIONS.get(name), make_scene(kind, previous=True)
    images, labels = make_batch(scene, enlarged=False)
    identity = Transform(np.eye(len(scene.patch_size)), scene.patch_size, 2) if augmentation.cuts else None
    after = augmentation.apply(images.clone(), labels.clone(), [identity] * len(images))
    assert torch.equal(after[0], images)
    assert torch.equal(after[1], labels)


def test_constant_images_stay_finite(name: str, kind: str) -> None:
    scene, augmentation = make_scene(kind), AUGMENTATIONS.get(name)
    images, labels = make_batch(scene, count=COUNT, enlarged=augmentation.cuts)
    for value in (0.0, -3.5):
        changed, _ = augment_batch(
            torch.full_like(images, value), labels.clone(), make_generators(COUNT), scene, [augmentation]
        )
        assert torch.isfinite(changed).all()


def test_name_is_its_entry_and_json(name: str, kind: str) -> None:
    assert AUGMENTATIONS.get(name).name == name
    assert json.loads(json.dumps(name)) == name


def test_intensities_alone_change_images_alone(name: str, kind: str) -> None:
    scene, augmentation = make_scene(kind, previous=True), AUGMENTATIONS.get(name)
    images, labels = make_batch(scene, count=COUNT, enlarged=augmentation.cuts)
    changed, moved = augment_batch(images.clone(), labels.clone(), make_generators(COUNT), scene, [augmentation])
    if name in ("spatial", "elastic", "mirror"):
        return
    touched = slice(2, None) if name.startswith("previous") else slice(0, 2)
    others = slice(0, 2) if name.startswith("previous") else slice(2, None)
    assert torch.equal(moved, labels)
    assert torch.equal(changed[:, others], images[:, others])
    assert not torch.equal(changed[:, touched], images[:, touched])


def test_a_network_without_a_stage_before_draws_nothing_for_it(name: str, kind: str) -> None:
    if name.startswith("previous"):
        assert all(AUGMENTATIONS.get(name).draw(rng, make_scene(kind)) is None for rng in make_generators(COUNT))
