"""Which samples are put on a label and where patches lie, against nnU-Net's own loader."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

theirs = pytest.importorskip(
    "nnunetv2.training.dataloading.data_loader", reason="nnunetv2 (bench group) is not installed"
).nnUNetDataLoader

from medseg.training.patches.sampling import generator_of, is_on_label, place_patch  # noqa: E402


@pytest.mark.parametrize("share", [0.1, 0.33, 0.5, 0.9])
def test_the_same_samples_of_a_batch_are_put_on_a_label(share: float) -> None:
    for batch in range(2, 65):
        loader = SimpleNamespace(batch_size=batch, oversample_foreground_percent=share)
        expected = [theirs._oversample_last_XX_percent(loader, slot) for slot in range(batch)]
        found = [is_on_label(generator_of(0, 0), slot, batch, share) for slot in range(batch)]
        # Where theirs puts none on a label, ours puts one.
        assert found == (expected if any(expected) else [False] * (batch - 1) + [True])


def place_theirs(shape: tuple[int, ...], patch: tuple[int, ...], locations: dict[int, np.ndarray] | None) -> list[int]:
    loader = SimpleNamespace(
        need_to_pad=np.zeros(3, int), patch_size=patch, has_ignore=False, annotated_classes_key=(-1, 1, 2)
    )
    return [int(first) for first in theirs.get_bbox(loader, np.array(shape), locations is not None, locations)[0]]


def test_random_patches_begin_within_the_same_range() -> None:
    np.random.seed(0)  # nnU-Net draws from the global generator
    shape, patch = (9, 6, 12), (4, 8, 12)
    expected = Counter(tuple(place_theirs(shape, patch, None)) for _ in range(1500))
    found = Counter(place_patch(generator_of(0, number), shape, patch, []) for number in range(1500))
    assert set(found) == set(expected)
    assert all(found[start] == pytest.approx(expected[start], abs=90) for start in expected)


def test_labels_and_their_voxels_come_as_often() -> None:
    np.random.seed(1)
    shape, patch = (30, 30, 30), (4, 4, 4)
    voxels = {1: np.array([[5, 5, 5]]), 2: np.array([[9, 9, 9], [14, 9, 9], [20, 20, 20], [20, 21, 20]])}
    listed = {label: np.insert(places, 0, 0, axis=1) for label, places in voxels.items()}  # a channel comes first
    expected = Counter(tuple(place_theirs(shape, patch, listed)) for _ in range(3000))
    groups = [[places] for places in voxels.values()]
    found = Counter(place_patch(generator_of(0, number), shape, patch, groups) for number in range(3000))
    assert set(found) == set(expected)
    assert all(found[start] == pytest.approx(expected[start], abs=130) for start in expected)
