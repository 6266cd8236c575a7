"""The resample: compiled loops and torch give the same, and both give what scipy gives."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medseg.augmentation import resample
from medseg.augmentation.elastic import draw_displacement, expand_displacement
from medseg.augmentation.resample import View, resample_in_torch, resample_views
from medseg.augmentation.spatial import make_matrix
from tests.augmentation.examples import make_generators

CPU = torch.device("cpu")
SIZES = [((12, 15), (14, 11)), ((14, 13, 16), (12, 12, 11)), ((9, 9, 9), (12, 10, 8)), ((1, 12, 12), (1, 12, 12))]


def draw_patch(source: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> tuple[torch.Tensor, torch.Tensor]:
    """Two channels of noise and two label maps in blocks of two voxels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 5, size=(2, *[-(-length // 2) for length in source]))
    for axis, length in enumerate(source, start=1):
        blocks = blocks.repeat(2, axis).take(np.arange(length), axis)
    return torch.from_numpy(rng.normal(size=(2, *source)).astype(np.float32)), torch.from_numpy(blocks).to(dtype)


@pytest.mark.parametrize(("source", "size"), SIZES[:3])
@pytest.mark.parametrize("bends", [False, True])
@pytest.mark.parametrize(("dtype", "beyond"), [(torch.uint8, 0), (torch.int16, -1), (torch.int32, 0)])
def test_loops_and_torch_agree(
    source: tuple[int, ...], size: tuple[int, ...], bends: bool, dtype: torch.dtype, beyond: int
) -> None:
    images, labels = draw_patch(source, dtype)
    views = []
    for number, rng in enumerate(make_generators(3)):
        matrix = make_matrix(rng.uniform(-1, 1, 3 if len(size) == 3 else 1).tolist(), float(rng.uniform(0.7, 1.4)))
        bend = expand_displacement(draw_displacement(rng, len(size)), size, CPU) if bends and number else None
        views.append(View(images, labels, matrix, bend))
    expected = resample_in_torch(views, size, beyond=beyond)
    for one, other in zip(resample_views(views, size, beyond=beyond), expected, strict=True):
        assert one[0].shape == other[0].shape == (2, *size)
        assert one[1].dtype == other[1].dtype == dtype
        np.testing.assert_allclose(one[0].numpy(), other[0].numpy(), atol=3e-5)
        assert float((one[1] == other[1]).float().mean()) > 0.999  # equal weights may round apart


def test_many_views_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = draw_patch(SIZES[1][0])
    views = [View(images, labels, make_matrix([0.1 * number] * 3, 1.1)) for number in range(5)]
    whole = resample_in_torch(views, SIZES[1][1])
    monkeypatch.setattr(resample, "VOXELS_AT_ONCE", 2 * int(np.prod(SIZES[1][1])))
    parts = resample_in_torch(views, SIZES[1][1])
    assert all(torch.equal(a, b) for one, two in zip(whole, parts, strict=True) for a, b in zip(one, two, strict=True))
    assert resample_views([], (3, 3)) == []


@pytest.mark.parametrize(("source", "size"), SIZES[:2])
def test_intensities_and_labels_equal_scipys(source: tuple[int, ...], size: tuple[int, ...]) -> None:
    images, labels = draw_patch(source)
    matrix = make_matrix([0.3] * (3 if len(size) == 3 else 1), 1.1)
    shift = (np.array(source) - 1) / 2 - matrix @ ((np.array(size) - 1) / 2)
    ((moved, moved_labels),) = resample_views([View(images, labels, matrix)], size)

    def move(array: np.ndarray) -> np.ndarray:
        # One voxel of 0 around: scipy fades out within it as torch does.
        padded = np.pad(array.astype(np.float64), 2)
        return ndimage.affine_transform(padded, matrix, shift + 2, output_shape=size, order=1, mode="constant")

    for channel, expected in zip(moved, images, strict=True):
        np.testing.assert_allclose(channel.numpy(), move(expected.numpy()), atol=2e-5)
    for label, before in zip(moved_labels, labels, strict=True):
        shares = np.stack([move(before.numpy() == value) for value in range(5)])
        outside = 1 - shares.sum(0)
        clear = np.sort(np.concatenate([shares, outside[None]]), 0)
        expected = np.where(outside > shares.max(0), 0, shares.argmax(0))
        sure = clear[-1] - clear[-2] > 1e-4
        assert sure.mean() > 0.9
        assert np.array_equal(label.numpy()[sure], expected[sure])


def test_slices_are_moved_in_their_plane() -> None:
    images, labels = draw_patch((1, 12, 12))
    matrix = make_matrix([0.4], 0.9)
    views = [View(images[:, 0], labels[:, 0], matrix)]
    (one,), (expected,) = resample_views(views, (12, 12)), resample_in_torch(views, (12, 12))
    np.testing.assert_allclose(one[0].numpy(), expected[0].numpy(), atol=2e-5)
    assert float((one[1] == expected[1]).float().mean()) > 0.99


@pytest.mark.parametrize(("source", "size"), SIZES[:3])
def test_what_lies_far_outside_is_empty(source: tuple[int, ...], size: tuple[int, ...]) -> None:
    images, labels = draw_patch(source)
    ((moved, moved_labels),) = resample_views([View(images + 5, labels + 1, np.eye(len(size)) * 50.0)], size)
    seen = [slice(length // 2 - 1, length // 2 + 1) for length in size]
    moved[(slice(None), *seen)], moved_labels[(slice(None), *seen)] = 0, 0
    assert not moved.any()
    assert not moved_labels.any()
