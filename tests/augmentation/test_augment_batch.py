"""The whole list of augmentations on batches."""

import numpy as np
import pytest
import torch

from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation, Scene, augment_batch
from tests.augmentation.examples import PATCHES, VALUES, make_batch, make_generators, make_scene


@pytest.mark.parametrize("kind", list(PATCHES))
def test_the_default_list_gives_finite_patches_that_the_generators_decide(kind: str) -> None:
    scene = make_scene(kind)
    images, labels = make_batch(scene, count=40)
    first = augment_batch(images.clone(), labels.clone(), make_generators(40), scene)
    again = augment_batch(images.clone(), labels.clone(), make_generators(40), scene)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert tuple(first[0].shape[2:]) == tuple(first[1].shape[1:]) == PATCHES[kind]
    assert torch.isfinite(first[0]).all()
    assert set(first[1].unique().tolist()) <= set(VALUES)


def test_image_and_labels_move_together() -> None:
    scene = Scene((16, 16, 16), 1, False, (0, 1, 2))
    _, labels = make_batch(scene, count=8)
    smooth = (torch.arange(labels[0].numel()).reshape(labels.shape[1:]) // 512 % 2).to(torch.uint8).expand_as(labels)
    images = smooth[:, None].float()
    names = {"spatial", "mirror"}
    chosen = [augmentation for augmentation in DEFAULT_AUGMENTATIONS if augmentation.name in names]
    changed, changed_labels = augment_batch(images.clone(), smooth.clone(), make_generators(8), scene, chosen)
    clear = (changed[:, 0] - 0.5).abs() > 0.4  # between two values the image is a mixture
    assert torch.equal((changed[:, 0] > 0.5)[clear], (changed_labels > 0)[clear])


def test_own_augmentations_are_accepted() -> None:
    def apply(images: torch.Tensor, labels: torch.Tensor, parameters: object) -> tuple[torch.Tensor, torch.Tensor]:
        return images + torch.as_tensor(parameters, dtype=images.dtype).reshape(-1, 1, 1, 1), labels

    shift = Augmentation("shift", lambda rng, scene: float(rng.random()), apply)
    images, labels = make_batch(make_scene("2d"), enlarged=False)
    expected = [np.random.Generator(np.random.Philox(key=[0, n])).random() for n in range(len(images))]
    changed, _ = augment_batch(images.clone(), labels, make_generators(len(images)), make_scene("2d"), [shift])
    np.testing.assert_allclose((changed - images)[:, 0, 0, 0].numpy(), expected, atol=1e-5)
