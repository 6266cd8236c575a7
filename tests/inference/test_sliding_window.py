"""Logits of whole scans from windows."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medseg.core.errors import ModelError
from medseg.inference import (
    as_forward,
    average_forwards,
    place_windows,
    predict_logits,
    sliding_window,
    stream_logits,
    streaming,
)
from medseg.inference.sliding_window import GAUSSIAN_PEAK, _smooth_point, list_flips, weigh_window
from medseg.networks import build_network
from tests.training.examples import make_configuration

# Sums of windows are kept in half precision, 11 bits, rounded at every window.
ROUNDED = {"rtol": 4e-3, "atol": 4e-3}


# Below this a half has fewer than 11 bits: at a scan's corners, which only the rim of a window sees, sums are coarse.
FIRM = 1e-3


def is_near(
    halves: torch.Tensor, exact: torch.Tensor, patch: tuple[int, int, int] = (8, 8, 8), overlap: float = 0.5
) -> bool:
    """Whether logits (..., a, b, c) are right wherever windows carry weight; beyond, that they are numbers at all."""
    shape = [max(length, size) for length, size in zip(halves.shape[-3:], patch, strict=True)]
    weight = torch.zeros(shape)
    for start in place_windows(shape, patch, overlap):
        weight[tuple(slice(s, s + n) for s, n in zip(start, patch, strict=True))] += weigh_window(patch).float()
    inner = [slice((n - own) // 2, (n - own) // 2 + own) for n, own in zip(shape, halves.shape[-3:], strict=True)]
    firm = weight[tuple(inner)] > FIRM
    near = torch.isclose(halves.float(), exact.float(), **ROUNDED)
    return bool(near[..., firm].all() and torch.isfinite(halves).all() and firm.any())


def draw_image(*shape: int, channels: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))


def mix_channels(windows: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution: what it says of a voxel depends on that voxel alone."""
    weights = torch.tensor([[1.0, -0.5], [0.25, 2.0], [0.0, 1.0]])
    return torch.einsum("oc,nc...->no...", weights, windows)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 90)), min_size=1, max_size=3), st.floats(0, 0.95))
def test_windows_cover_every_voxel_without_repeating(axes: list[tuple[int, int]], overlap: float) -> None:
    patch = [size for size, _ in axes]
    shape = [size + more for size, more in axes]
    windows = place_windows(shape, patch, overlap)
    assert len(set(windows)) == len(windows)
    for axis, (length, size) in enumerate(zip(shape, patch, strict=True)):
        starts = sorted({window[axis] for window in windows})
        assert starts[0] == 0
        assert starts[-1] == length - size
        assert all(b - a <= max(1, int(np.ceil(size * (1 - overlap)))) for a, b in pairwise(starts))


def test_every_slice_of_a_2d_network_is_one_window() -> None:
    assert [window[0] for window in place_windows((5, 8, 8), (1, 8, 8))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("patch", [(8, 8, 8), (5, 9, 16), (1, 12, 12), (128, 128, 128), (1, 1, 1)])
def test_weights_fall_from_the_middle_and_are_never_zero(patch: tuple[int, int, int]) -> None:
    weights = weigh_window(patch)
    assert tuple(weights.shape) == patch
    assert float(weights.max()) == GAUSSIAN_PEAK == 10.0
    assert float(weights[patch[0] // 2, patch[1] // 2, patch[2] // 2]) == 10.0
    assert float(weights.min()) > 0
    for axis in range(3):
        middle = patch[axis] // 2
        profile = weights[tuple(slice(None) if a == axis else n // 2 for a, n in enumerate(patch))].float()
        assert (profile[: middle + 1].diff() >= 0).all()
        assert (profile[middle:].diff() <= 0).all()


def test_weights_can_be_used_wherever_they_were_made_first() -> None:
    with torch.inference_mode():
        weigh_window((3, 5, 7))
    assert not weigh_window((3, 5, 7)).is_inference()


def test_weights_fall_as_a_gaussian_of_an_eighth_of_the_patch() -> None:
    profile = weigh_window((1, 1, 65)).flatten()
    sigma = 65 / 8
    expected = 10 * np.exp(-0.5 * (np.arange(-32, 33) / sigma) ** 2)
    np.testing.assert_allclose(profile.numpy(), expected, rtol=1e-3)


SHAPES = [(8, 8, 8), (20, 17, 11), (3, 30, 5), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_network_gives_constant_logits(shape: tuple[int, int, int]) -> None:
    def constant(windows: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.5, -2.0]).reshape(1, 2, 1, 1, 1).expand(len(windows), 2, *windows.shape[2:])

    logits = predict_logits(constant, draw_image(*shape), (8, 8, 8), mirror_axes=(0, 1, 2))
    assert tuple(logits.shape) == (2, *shape)
    assert logits.dtype == torch.half
    assert is_near(logits[0], torch.full(shape, 1.5))
    assert is_near(logits[1], torch.full(shape, -2.0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("patch", [(8, 8, 8), (1, 8, 6)])
@pytest.mark.parametrize("mirror_axes", [(), (0, 1, 2), (2,)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_network_without_context_sees_the_image_as_a_whole(
    shape: tuple[int, int, int], patch: tuple[int, int, int], mirror_axes: tuple[int, ...], overlap: float
) -> None:
    image = draw_image(*shape)
    logits = predict_logits(mix_channels, image, patch, overlap=overlap, mirror_axes=mirror_axes)
    assert is_near(logits, mix_channels(image[None])[0], patch, overlap)


def make_forward(dimensions: int = 3, seed: int = 0) -> sliding_window.Forward:
    return as_forward(build_network(make_configuration(dimensions=dimensions), 2, 3, seed=seed), dimensions)


def test_windows_are_averaged_by_their_weights() -> None:
    forward, image, patch = make_forward(), draw_image(12, 8, 8), (8, 8, 8)
    first, second = forward(image[None, :, :8])[0], forward(image[None, :, 4:])[0]
    weights = weigh_window(patch)
    total, divisor = torch.zeros(3, 12, 8, 8), torch.zeros(12, 8, 8)
    for start, window in ((0, first), (4, second)):
        total[:, start : start + 8] += window * weights
        divisor[start : start + 8] += weights
    assert is_near(predict_logits(forward, image, patch), total / divisor)


@pytest.mark.parametrize("mirror_axes", [(0,), (1, 2), (0, 1, 2)])
def test_mirroring_is_the_mean_over_flipped_images(mirror_axes: tuple[int, ...]) -> None:
    forward, image = make_forward(), draw_image(8, 8, 8)
    flips = list_flips(mirror_axes)
    assert len(flips) == len(set(flips)) == 2 ** len(mirror_axes)
    assert flips[0] == ()
    explicit = []
    for flip in flips:
        axes = [axis + 1 for axis in flip]
        explicit.append(forward(image.flip(axes)[None])[0].flip(axes))
    expected = torch.stack(explicit).mean(0)
    assert is_near(predict_logits(forward, image, (8, 8, 8), mirror_axes=mirror_axes), expected)


def test_a_small_image_lies_in_the_middle_of_its_window() -> None:
    forward, image = make_forward(), draw_image(5, 8, 6)
    padded = torch.nn.functional.pad(image, (1, 1, 0, 0, 1, 2))
    expected = forward(padded[None])[0][:, 1:6, :, 1:7]
    assert is_near(predict_logits(forward, image, (8, 8, 8)), expected)


def test_slices_go_through_a_2d_network_one_by_one() -> None:
    forward, image = make_forward(2), draw_image(5, 8, 8)
    logits = predict_logits(forward, image, (1, 8, 8), mirror_axes=(0, 1, 2))
    network = build_network(make_configuration(dimensions=2), 2, 3).eval()
    for number in range(5):
        flips = [(), (1,), (2,), (1, 2)]
        each = [network(image[:, number].flip(flip)[None])[0][0].flip(flip) for flip in flips]
        assert is_near(logits[:, number : number + 1], torch.stack(each).mean(0)[:, None], (1, 8, 8))


@pytest.mark.parametrize("together", [1, 2, 4, 100])
def test_how_many_windows_go_together_changes_nothing(together: int) -> None:
    forward, image = make_forward(), draw_image(20, 8, 11)
    expected = predict_logits(forward, image, (8, 8, 8), mirror_axes=(0, 2), together=1)
    logits = predict_logits(forward, image, (8, 8, 8), mirror_axes=(0, 2), together=together)
    assert is_near(logits, expected)


def test_the_image_stays_as_it_was() -> None:
    image = draw_image(9, 9, 9)
    before = image.clone()
    predict_logits(make_forward(), image, (8, 8, 8), mirror_axes=(0, 1, 2))
    assert torch.equal(image, before)


def test_folds_are_averaged() -> None:
    windows = draw_image(8, 8, 8)[None]
    forwards = [make_forward(seed=seed) for seed in range(3)]
    mean = torch.stack([forward(windows) for forward in forwards]).mean(0)
    assert torch.allclose(average_forwards(forwards)(windows), mean, atol=1e-6)
    assert average_forwards(forwards[:1]) is forwards[0]


def test_lower_precision_gives_nearly_the_same_in_float32() -> None:
    network = build_network(make_configuration(), 2, 3)
    windows = draw_image(8, 8, 8)[None]
    exact, lower = (as_forward(network, 3, kind)(windows) for kind in (torch.float32, torch.bfloat16))
    assert lower.dtype == torch.float32
    assert not torch.equal(exact, lower)
    assert torch.allclose(exact, lower, atol=0.1)


@pytest.mark.parametrize("shape", [(37, 29, 11), (8, 40, 9), (3, 4, 5), (64, 8, 8)])
@pytest.mark.parametrize("patch", [(8, 8, 8), (1, 8, 6), (12, 10, 4)])
@pytest.mark.parametrize("smallest", [1, 2000, 2**30])
def test_blocks_come_in_order_and_are_the_whole(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], patch: tuple[int, int, int], smallest: int
) -> None:
    image = draw_image(*shape)
    monkeypatch.setattr(streaming, "BLOCK_VALUES", 2**30)
    whole = predict_logits(mix_channels, image, patch)
    monkeypatch.setattr(streaming, "BLOCK_VALUES", smallest)
    blocks = list(stream_logits([mix_channels], image, patch, 3))
    assert [block.start for block in blocks] == sorted(block.start for block in blocks)
    seen = torch.zeros(shape[:2], dtype=torch.int)
    for block in blocks:
        rows, columns = slice(block.start[0], block.stop[0]), slice(block.start[1], block.stop[1])
        assert tuple(block.logits.shape) == (3, rows.stop - rows.start, columns.stop - columns.start, shape[2])
        assert torch.equal(block.logits, whole[:, rows, columns])  # to the bit: the order of sums is the same
        seen[rows, columns] += 1
    assert (seen == 1).all()
    assert len(blocks) == 1 or smallest < 2**30


def test_networks_are_averaged_as_nnunet_averages_them() -> None:
    forwards, image = [make_forward(seed=seed) for seed in range(3)], draw_image(12, 9, 8)
    each = [predict_logits(forward, image, (8, 8, 8)) for forward in forwards]
    expected = each[0].clone()
    for other in each[1:]:
        expected += other  # in halves
    expected /= 3
    blocks = list(stream_logits(forwards, image, (8, 8, 8), 3))
    assert torch.equal(torch.cat([block.logits for block in blocks], dim=1), expected)


def test_numbers_beyond_half_precision_are_refused() -> None:
    def huge(windows: torch.Tensor) -> torch.Tensor:
        return torch.full((len(windows), 2, *windows.shape[2:]), 1e5)

    with pytest.raises(ModelError, match="not finite"):
        list(stream_logits([huge], draw_image(8, 8, 8), (8, 8, 8), 2))


@pytest.mark.parametrize("size", [2, 3, 5, 16, 24, 40, 63, 96, 128, 320])
def test_a_smoothed_point_is_scipys_to_the_last_bit(size: int) -> None:
    point = np.zeros(size)
    point[size // 2] = 1.0
    expected = ndimage.gaussian_filter1d(point, size / 8, mode="constant")
    assert np.array_equal(_smooth_point(size, size / 8), expected)
