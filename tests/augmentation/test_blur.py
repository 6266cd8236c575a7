"""Blur against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medseg.augmentation.blur import CHANCE, CHANNEL_CHANCE, SIGMA_VOXELS, apply_blur, draw_blur, make_kernel
from tests.augmentation.examples import make_generators, make_scene

LABELS = torch.zeros(2, 1, dtype=torch.uint8)


@pytest.mark.parametrize("size", [(30, 20), (10, 14, 12), (1, 14, 12), (2, 3, 12)])
def test_blur_equals_scipy(size: tuple[int, ...]) -> None:
    images = torch.from_numpy(np.random.default_rng(0).normal(2, 3, size=(2, 2, *size)).astype(np.float32))
    sigmas = np.array([[0.9, 0.55, 0.7][: len(size)], [0.0] * len(size)])
    blurred, _ = apply_blur(images.clone(), LABELS, [sigmas, None])
    expected = images[0, 0].numpy()
    for axis, sigma in enumerate(sigmas[0]):
        if size[axis] > 1:
            expected = ndimage.correlate1d(expected, make_kernel(sigma), axis, mode="mirror")
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-5)
    assert torch.equal(blurred[0, 1], images[0, 1])
    assert torch.equal(blurred[1], images[1])


@pytest.mark.parametrize(("sigma", "length"), [(0.5, 3), (0.57, 3), (0.6, 5), (0.9, 5), (0.92, 7), (1.0, 7)])
def test_kernels_are_gaussian_and_odd(sigma: float, length: int) -> None:
    kernel = np.array(make_kernel(sigma))
    assert len(kernel) == length
    assert kernel.sum() == pytest.approx(1)
    assert kernel[length // 2 + 1] / kernel[length // 2] == pytest.approx(np.exp(-0.5 / sigma**2))


def test_every_axis_and_channel_has_its_own_sigma() -> None:
    scene = make_scene("3d", channels=4)
    drawn = [sigmas for rng in make_generators(2000) if (sigmas := draw_blur(rng, scene)) is not None]
    assert len(drawn) / 2000 == pytest.approx(CHANCE, abs=0.03)
    rows = np.concatenate(drawn)
    blurred = rows[rows[:, 0] > 0]
    assert len(blurred) / len(rows) == pytest.approx(CHANNEL_CHANCE, abs=0.04)
    assert SIGMA_VOXELS[0] <= blurred.min() < 0.52 < 0.98 < blurred.max() <= SIGMA_VOXELS[1]
    assert len(np.unique(blurred)) == blurred.size
