"""Patches and scenes for the tests of augmentation."""

import numpy as np
import torch

from medseg.augmentation import Scene, enlarge_patch

PATCHES = {"3d": (10, 12, 14), "flat": (4, 16, 14), "2d": (12, 14)}
VALUES = (0, 1, 3, 255)


def make_scene(kind: str, channels: int = 2, *, previous: bool = False) -> Scene:
    patch = PATCHES[kind]
    values = tuple(value for value in VALUES if value) if previous else ()
    return Scene(patch, channels, kind == "flat", tuple(range(len(patch))), previous_values=values)


def make_batch(
    scene: Scene, *, count: int = 6, enlarged: bool = True, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of the size that is read; with a stage before, blocks of its labels as further channels."""
    size = enlarge_patch(scene.patch_size, flat_rotation=scene.flat_rotation) if enlarged else scene.patch_size
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.normal(size=(count, scene.channels, *size)).astype(np.float32))
    labels = torch.from_numpy(rng.choice(np.array(VALUES, np.uint8), size=(count, *size)))
    if scene.previous_values:
        blocks = rng.choice(np.array(VALUES), size=(count, *[-(-length // 3) for length in size]))
        for axis, length in enumerate(size, start=1):
            blocks = blocks.repeat(3, axis).take(np.arange(length), axis)
        masks = np.stack([blocks == value for value in scene.previous_values], axis=1).astype(np.float32)
        images = torch.cat([images, torch.from_numpy(masks)], dim=1)
    return images, labels


def make_generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.Philox(key=[seed, number])) for number in range(count)]
