"""Logits of whole scans from windows."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.inference import as_forward, average_forwards, place_windows, predict_logits, sliding_window
from medseg.inference.sliding_window import GAUSSIAN_PEAK, list_flips, weigh_window
from medseg.networks import build_network
from tests.training.examples import make_configuration


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
def test_weights_are_symmetric_and_never_zero(patch: tuple[int, int, int]) -> None:
    weights = weigh_window(patch)
    assert tuple(weights.shape) == patch
    assert float(weights.max()) == GAUSSIAN_PEAK == 10.0
    assert float(weights.min()) > 0
    for axis in range(3):
        assert torch.allclose(weights, weights.flip(axis), rtol=1e-5)
        middle = patch[axis] // 2
        profile = weights[tuple(slice(None) if a == axis else n // 2 for a, n in enumerate(patch))]
        assert (profile[: middle + 1].diff() >= -1e-6).all()


def test_weights_fall_as_a_gaussian_of_an_eighth_of_the_patch() -> None:
    profile = weigh_window((1, 1, 65)).flatten()
    sigma = 65 / 8
    expected = 10 * np.exp(-0.5 * (np.arange(-32, 33) / sigma) ** 2)
    np.testing.assert_allclose(profile.numpy(), expected, rtol=1e-5)


SHAPES = [(8, 8, 8), (20, 17, 11), (3, 30, 5), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_network_gives_constant_logits(shape: tuple[int, int, int]) -> None:
    def constant(windows: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.5, -2.0]).reshape(1, 2, 1, 1, 1).expand(len(windows), 2, *windows.shape[2:])

    logits = predict_logits(constant, draw_image(*shape), (8, 8, 8), mirror_axes=(0, 1, 2))
    assert tuple(logits.shape) == (2, *shape)
    assert torch.allclose(logits[0], torch.tensor(1.5))
    assert torch.allclose(logits[1], torch.tensor(-2.0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("patch", [(8, 8, 8), (1, 8, 6)])
@pytest.mark.parametrize("mirror_axes", [(), (0, 1, 2), (2,)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_network_without_context_sees_the_image_as_a_whole(
    shape: tuple[int, int, int], patch: tuple[int, int, int], mirror_axes: tuple[int, ...], overlap: float
) -> None:
    image = draw_image(*shape)
    logits = predict_logits(mix_channels, image, patch, overlap=overlap, mirror_axes=mirror_axes)
    assert torch.allclose(logits, mix_channels(image[None])[0], atol=1e-5)


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
    assert torch.allclose(predict_logits(forward, image, patch), total / divisor, atol=1e-5)


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
    assert torch.allclose(predict_logits(forward, image, (8, 8, 8), mirror_axes=mirror_axes), expected, atol=1e-5)


def test_a_small_image_lies_in_the_middle_of_its_window() -> None:
    forward, image = make_forward(), draw_image(5, 8, 6)
    padded = torch.nn.functional.pad(image, (1, 1, 0, 0, 1, 2))
    expected = forward(padded[None])[0][:, 1:6, :, 1:7]
    assert torch.allclose(predict_logits(forward, image, (8, 8, 8)), expected, atol=1e-6)


def test_slices_go_through_a_2d_network_one_by_one() -> None:
    forward, image = make_forward(2), draw_image(5, 8, 8)
    logits = predict_logits(forward, image, (1, 8, 8), mirror_axes=(0, 1, 2))
    network = build_network(make_configuration(dimensions=2), 2, 3).eval()
    for number in range(5):
        flips = [(), (1,), (2,), (1, 2)]
        each = [network(image[:, number].flip(flip)[None])[0][0].flip(flip) for flip in flips]
        assert torch.allclose(logits[:, number], torch.stack(each).mean(0), atol=1e-5)


@pytest.mark.parametrize("limit", [1, 512, 2048, 2**20])
def test_how_many_windows_go_together_changes_nothing(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    forward, image = make_forward(), draw_image(20, 8, 11)
    options = {"mirror_axes": (0, 2)}
    expected = predict_logits(forward, image, (8, 8, 8), **options)  # type: ignore[arg-type]
    monkeypatch.setattr(sliding_window, "CPU_BATCH_VOXELS", limit)
    assert torch.allclose(predict_logits(forward, image, (8, 8, 8), **options), expected, atol=1e-5)  # type: ignore[arg-type]


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
