"""Noise, brightness, contrast and gamma against what they promise."""

import numpy as np
import pytest
import torch

from medseg.augmentation import contrast, gamma
from medseg.augmentation.brightness import apply_brightness
from medseg.augmentation.contrast import apply_contrast, draw_contrast
from medseg.augmentation.gamma import apply_gamma, apply_inverted_gamma, draw_gamma
from medseg.augmentation.noise import SD_RANGE, Noise, apply_noise, draw_noise
from tests.augmentation.examples import make_generators, make_scene

LABELS = torch.zeros(2, 1, dtype=torch.uint8)


def draw_images(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(2.0, 3.0, size=(2, 2, *size)).astype(np.float32))


@pytest.mark.parametrize("size", [(40, 50), (16, 20, 24)])
def test_noise_has_the_deviation_that_was_drawn(size: tuple[int, ...]) -> None:
    images = draw_images(*size)
    noisy, _ = apply_noise(images.clone(), LABELS, [Noise(0.25, 7, 2), None])
    field = noisy[0] - images[0]
    assert float(field.std()) == pytest.approx(0.25, rel=0.05)
    assert float(field.mean()) == pytest.approx(0.0, abs=0.02)
    assert not torch.allclose(field[0], field[1])  # each channel has its own
    assert torch.equal(noisy[1], images[1])


def test_drawn_noise_lies_in_the_range() -> None:
    drawn = [noise for rng in make_generators(500) if (noise := draw_noise(rng, make_scene("3d"))) is not None]
    assert 0.06 < len(drawn) / 500 < 0.15
    assert all(SD_RANGE[0] <= noise.sd <= SD_RANGE[1] for noise in drawn)
    assert len({noise.seed for noise in drawn}) == len(drawn)


def test_brightness_multiplies_each_channel() -> None:
    images = draw_images(6, 7, 8)
    bright, _ = apply_brightness(images.clone(), LABELS, [None, (0.8, 1.2)])
    assert torch.equal(bright[0], images[0])
    assert torch.allclose(bright[1, 0], images[1, 0] * 0.8)
    assert torch.allclose(bright[1, 1], images[1, 1] * 1.2)


def test_contrast_keeps_mean_and_range() -> None:
    images = draw_images(20, 20)
    changed, _ = apply_contrast(images.clone(), LABELS, [(0.8, 1.2), None])
    weak, strong = changed[0]
    assert torch.allclose(weak, (images[0, 0] - images[0, 0].mean()) * 0.8 + images[0, 0].mean(), atol=1e-5)
    assert float(strong.min()) == float(images[0, 1].min())
    assert float(strong.max()) == float(images[0, 1].max())
    assert float(strong.std()) > float(images[0, 1].std())


@pytest.mark.parametrize("apply", [apply_gamma, apply_inverted_gamma])
def test_gamma_keeps_mean_deviation_and_order(apply: object) -> None:
    images = draw_images(12, 10, 8)
    changed, _ = apply(images.clone(), LABELS, [(0.7, 1.5), None])  # type: ignore[operator]
    for before, after in zip(images[0], changed[0], strict=True):
        assert float(after.mean()) == pytest.approx(float(before.mean()), abs=1e-4)
        assert float(after.std()) == pytest.approx(float(before.std()), rel=1e-4)
        assert not torch.allclose(after, before, atol=1e-2)
        assert (after.flatten()[before.flatten().argsort()].diff() >= -1e-5).all()


def test_gamma_is_a_power_up_to_a_line() -> None:
    image = draw_images(12, 10)
    changed, _ = apply_gamma(image.clone(), LABELS, [(1.5, 1.0), None])
    low, high = image[0, 0].min(), image[0, 0].max()
    power = ((image[0, 0] - low) / (high - low)) ** 1.5
    assert float(torch.corrcoef(torch.stack([power.flatten(), changed[0, 0].flatten()]))[0, 1]) == pytest.approx(1.0)
    assert torch.allclose(changed[0, 1], image[0, 1], atol=1e-5)


def test_gamma_far_from_zero_is_as_exact() -> None:
    image = draw_images(12, 10)
    near, _ = apply_gamma(image.clone(), LABELS, [(0.8, 0.8), None])
    far, _ = apply_gamma(image + 1000, LABELS, [(0.8, 0.8), None])
    assert torch.allclose(far[0] - 1000, near[0], atol=2e-3)


def test_factors_are_as_often_below_one_as_above() -> None:
    scene = make_scene("3d")
    for draw, (low, high) in ((draw_contrast, contrast.RANGE), (draw_gamma, gamma.RANGE)):
        drawn = [values for rng in make_generators(3000) if (values := draw(rng, scene)) is not None]
        values = np.concatenate(drawn)
        assert low <= values.min() < values.max() <= high
        assert np.mean(values < 1) == pytest.approx(0.5, abs=0.07)
