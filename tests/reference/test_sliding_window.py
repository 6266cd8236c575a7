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


@pytest.mark.parametrize("size", [(33, 21, 17), (65, 65)])
def test_weights_equal_nnunets_where_the_patch_has_a_middle(size: tuple[int, ...]) -> None:
    # Along an even axis nnU-Net's peak stands on the voxel after the middle, ours between the two.
    expected = theirs.compute_gaussian(size, 1 / 8, 10, torch.float32, torch.device("cpu"))
    near = expected > 0.01  # scipy cuts its kernel off at four deviations
    torch.testing.assert_close(weigh_window(size)[near], expected[near], rtol=1e-3, atol=1e-3)
