"""Noise, blur, brightness, contrast, gamma and low resolution against what they promise."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medseg.augmentation.intensity import (
    CONTRAST_RANGE,
    GAMMA_RANGE,
    apply_brightness,
    apply_contrast,
    apply_gamma,
    apply_inverted_gamma,
    draw_contrast,
    draw_gamma,
)
from medseg.augmentation.low_resolution import apply_zoom
from medseg.augmentation.noise import BLUR_RADIUS, NOISE_VARIANCE, Noise, apply_blur, apply_noise, draw_noise
from tests.augmentation.examples import make_generators, make_scene

LABELS = torch.zeros(2, 1, dtype=torch.uint8)


def draw_images(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(2.0, 3.0, size=(2, 2, *size)).astype(np.float32))


@pytest.mark.parametrize("size", [(40, 50), (16, 20, 24)])
def test_noise_has_the_deviation_that_was_drawn(size: tuple[int, ...]) -> None:
    images = draw_images(*size)
    noisy, _ = apply_noise(images.clone(), LABELS, [Noise(0.25, 7), None])
    field = noisy[0] - images[0]
    assert float(field.std()) == pytest.approx(0.25, rel=0.05)
    assert float(field.mean()) == pytest.approx(0.0, abs=0.02)
    assert not torch.allclose(field[0], field[1])  # each channel has its own
    assert torch.equal(noisy[1], images[1])


def test_drawn_noise_lies_in_the_range() -> None:
    drawn = [noise for rng in make_generators(500) if (noise := draw_noise(rng, make_scene("3d"))) is not None]
    assert 0.06 < len(drawn) / 500 < 0.15
    assert all(NOISE_VARIANCE[0] <= noise.sd**2 <= NOISE_VARIANCE[1] for noise in drawn)
    assert len({noise.seed for noise in drawn}) == len(drawn)


@pytest.mark.parametrize("size", [(30, 20), (10, 14, 12), (1, 14, 12)])
def test_blur_equals_scipy(size: tuple[int, ...]) -> None:
    images = draw_images(*size)
    blurred, _ = apply_blur(images.clone(), LABELS, [np.array([0.9, 0.0]), None])
    expected = ndimage.gaussian_filter(images[0, 0].numpy(), 0.9, mode="nearest", radius=BLUR_RADIUS)
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-5)
    assert torch.allclose(blurred[0, 1], images[0, 1])
    assert torch.equal(blurred[1], images[1])


def test_brightness_multiplies_each_channel() -> None:
    images = draw_images(6, 7, 8)
    bright, _ = apply_brightness(images.clone(), LABELS, [None, np.array([0.8, 1.2])])
    assert torch.equal(bright[0], images[0])
    assert torch.allclose(bright[1, 0], images[1, 0] * 0.8)
    assert torch.allclose(bright[1, 1], images[1, 1] * 1.2)


def test_contrast_keeps_mean_and_range() -> None:
    images = draw_images(20, 20)
    changed, _ = apply_contrast(images.clone(), LABELS, [np.array([0.8, 1.2]), None])
    weak, strong = changed[0]
    assert torch.allclose(weak, (images[0, 0] - images[0, 0].mean()) * 0.8 + images[0, 0].mean(), atol=1e-5)
    assert float(strong.min()) == float(images[0, 1].min())
    assert float(strong.max()) == float(images[0, 1].max())
    assert float(strong.std()) > float(images[0, 1].std())


@pytest.mark.parametrize("apply", [apply_gamma, apply_inverted_gamma])
def test_gamma_keeps_mean_deviation_and_order(apply: object) -> None:
    images = draw_images(12, 10, 8)
    changed, _ = apply(images.clone(), LABELS, [np.array([0.7, 1.5]), None])  # type: ignore[operator]
    for before, after in zip(images[0], changed[0], strict=True):
        assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-4)
        assert float(after.std()) == pytest.approx(float(before.std()), rel=1e-4)
        assert not torch.allclose(after, before, atol=1e-2)
        assert (after.flatten()[before.flatten().argsort()].diff() >= -1e-5).all()


def test_gamma_is_a_power_up_to_a_line() -> None:
    image = draw_images(12, 10)
    changed, _ = apply_gamma(image.clone(), LABELS, [np.array([1.5, 1.0]), None])
    low, high = image[0, 0].min(), image[0, 0].max()
    power = ((image[0, 0] - low) / (high - low)) ** 1.5
    assert float(torch.corrcoef(torch.stack([power.flatten(), changed[0, 0].flatten()]))[0, 1]) == pytest.approx(1.0)
    assert torch.allclose(changed[0, 1], image[0, 1], atol=1e-5)


def test_factors_are_as_often_below_one_as_above() -> None:
    scene = make_scene("3d")
    for draw, (low, high) in ((draw_contrast, CONTRAST_RANGE), (draw_gamma, GAMMA_RANGE)):
        drawn = [values for rng in make_generators(3000) if (values := draw(rng, scene)) is not None]
        values = np.concatenate(drawn)
        assert low <= values.min() < values.max() <= high
        assert np.mean(values < 1) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("size", [(16, 12), (8, 12, 10)])
def test_half_resolution_has_half_the_voxels(size: tuple[int, ...]) -> None:
    images = draw_images(*size)
    coarse, _ = apply_zoom(images.clone(), LABELS, [np.array([0.5, 1.0]), None])
    expected = torch.nn.functional.interpolate(images[:1, :1], [length // 2 for length in size], mode="nearest-exact")
    expected = torch.nn.functional.interpolate(expected, size, mode="bilinear" if len(size) == 2 else "trilinear")
    assert torch.allclose(coarse[0, 0], expected[0, 0])
    assert torch.equal(coarse[0, 1], images[0, 1])
    assert torch.equal(coarse[1], images[1])
