"""Patches and scenes for the tests of augmentation."""

import numpy as np
import torch

from medseg.augmentation import Augmentation, Scene, enlarge_patch

PATCHES = {"3d": (10, 12, 14), "flat": (4, 16, 14), "2d": (12, 14)}
VALUES = (0, 1, 3, 255)


def make_scene(kind: str, channels: int = 2) -> Scene:
    patch = PATCHES[kind]
    return Scene(patch, channels, kind == "flat", tuple(range(len(patch))))


def make_batch(
    scene: Scene, *, count: int = 6, enlarged: bool = True, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the size that is read."""
    size = enlarge_patch(scene.patch_size, flat_rotation=scene.flat_rotation) if enlarged else scene.patch_size
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.normal(size=(count, scene.channels, *size)).astype(np.float32))
    return images, torch.from_numpy(rng.choice(np.array(VALUES, np.uint8), size=(count, *size)))


def make_generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.Philox(key=[seed, number])) for number in range(count)]


def needs_enlarged(augmentation: Augmentation) -> bool:
    """Whether it cuts the patch out of a larger one."""
    return augmentation.name == "spatial"
