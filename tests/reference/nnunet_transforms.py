"""nnU-Net's transforms of training and what they draw, for the tests of augmentation; needs nnunetv2."""

from types import SimpleNamespace

import numpy as np
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from scipy import stats

from medseg.augmentation import AUGMENTATIONS, Scene
from tests.augmentation.examples import make_generators

PATCHES = {"3d": (12, 16, 14), "flat": (4, 20, 16), "square": (16, 18), "long": (12, 20)}
DRAWS = 3000
SURE = 1e-4  # so improbable that two samples of one distribution differ as much
LABELS = torch.zeros(1, 1, dtype=torch.uint8)


def make_scene(kind: str, channels: int = 2, previous_values: tuple[int, ...] = ()) -> Scene:
    patch = PATCHES[kind]
    return Scene(patch, channels, kind == "flat", tuple(range(len(patch))), previous_values=previous_values)


def make_peer(kind: str, **options: object) -> list[object]:
    """nnU-Net's transforms for a patch, with the rotation that its trainer chooses."""
    told = SimpleNamespace(configuration_manager=SimpleNamespace(patch_size=PATCHES[kind]), print_to_log_file=print)
    choose = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size
    rotation, flat, _, axes = choose(told)
    made = nnUNetTrainer.get_training_transforms(PATCHES[kind], rotation, None, axes, flat, **options)
    assert flat == (kind == "flat")
    return list(made.transforms)


def name_of(transform: object) -> str:
    return type(getattr(transform, "transform", transform)).__name__


def find(kind: str, name: str, **options: object):  # type: ignore[no-untyped-def]
    """nnU-Net's transform of a name, without the chance around it; the first of several."""
    found = next(transform for transform in make_peer(kind, **options) if name_of(transform) == name)
    return getattr(found, "transform", found)


def draw_peer(transform, kind: str, channels: int = 2, count: int = DRAWS) -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
    np.random.seed(0)
    torch.manual_seed(0)
    image = torch.zeros(channels, *PATCHES[kind])
    if kind == "flat" and isinstance(transform, SpatialTransform):
        image = image[:, 0]
    return [transform.get_parameters(image=image) for _ in range(count)]


def draw_own(name: str, kind: str, **options: object) -> list[object]:
    scene = make_scene(kind, **options)  # type: ignore[arg-type]
    return [AUGMENTATIONS.get(name).draw(rng, scene) for rng in make_generators(DRAWS)]


def assert_alike(own: object, peer: object) -> None:
    """Two samples of one distribution."""
    assert stats.ks_2samp(np.ravel(np.asarray(own)), np.ravel(np.asarray(peer))).pvalue > SURE


def assert_as_often(own: int, peer: int, draws: int = DRAWS) -> None:
    """Two counts of one chance."""
    assert stats.fisher_exact([[own, draws - own], [peer, draws - peer]]).pvalue > SURE


def draw_sample(kind: str, channels: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and labels in blocks of three voxels."""
    rng, size = np.random.default_rng(seed), PATCHES[kind]
    blocks = rng.integers(0, 4, size=[-(-length // 3) for length in size])
    for axis, length in enumerate(size):
        blocks = blocks.repeat(3, axis).take(np.arange(length), axis)
    image = rng.normal(1.0, 2.0, size=(channels, *size)).astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(blocks.astype(np.int16))
