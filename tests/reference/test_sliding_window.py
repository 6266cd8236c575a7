"""Windows and losses against nnU-Net's own."""

from itertools import product

import numpy as np
import pytest
import torch

theirs = pytest.importorskip(
    "nnunetv2.inference.sliding_window_prediction", reason="nnunetv2 (bench group) is not installed"
)

from medseg.inference import place_windows  # noqa: E402
from medseg.inference.sliding_window import weigh_window  # noqa: E402

RNG = np.random.default_rng(0)
CASES = [
    (tuple(int(n) for n in patch), tuple(int(n + more) for n, more in zip(patch, beyond, strict=True)))
    for patch, beyond in zip(RNG.integers(4, 160, (60, 3)), RNG.integers(0, 400, (60, 3)), strict=True)
]


@pytest.mark.parametrize("step", [0.5, 0.25, 0.75, 1.0, 0.4, 0.9])
def test_windows_stand_where_nnunet_puts_them(step: float) -> None:
    for patch, shape in CASES:
        expected = list(product(*theirs.compute_steps_for_sliding_window(shape, patch, step)))
        assert place_windows(shape, patch, 1 - step) == expected, (patch, shape)


@pytest.mark.parametrize("size", [(33, 21, 17), (65, 65), (40, 56, 40), (20, 320, 256), (512, 512), (128, 128, 128)])
def test_weights_equal_nnunets_to_the_bit(size: tuple[int, ...]) -> None:
    expected = theirs.compute_gaussian(size, 1 / 8, 10, torch.float16, torch.device("cpu"))
    assert torch.equal(weigh_window(size), expected)
    if len(size) == 2:  # our windows of slices have three axes
        assert torch.equal(weigh_window((1, *size))[0], expected)
