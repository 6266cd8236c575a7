"""Lesion-wise Dice in closed form and against plain numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.labels import LabelScheme
from medseg.training.losses import build_loss
from medseg.training.losses.lesions import divide_among_components, lesion_dice_loss

ONE = LabelScheme.make({"lesion": 1})


def two_lesions() -> torch.Tensor:
    """A large lesion at the left and a small one at the right of a patch (1, 1, 20, 8)."""
    targets = torch.zeros(1, 1, 20, 8)
    targets[..., 1:7, 1:7] = 1
    targets[..., 17:19, 3:5] = 1
    return targets


def test_a_missed_small_lesion_costs_as_much_as_a_missed_large_one() -> None:
    targets = two_lesions()
    small, large = targets.clone(), targets.clone()
    small[..., 10:, :], large[..., :10, :] = 0, 0
    assert float(lesion_dice_loss(small, targets, None)) == pytest.approx(0.5, abs=1e-5)
    assert float(lesion_dice_loss(large, targets, None)) == pytest.approx(0.5, abs=1e-5)
    assert float(lesion_dice_loss(targets, targets, None)) == pytest.approx(0.0, abs=1e-5)


def test_a_wrong_voxel_counts_against_the_nearest_lesion_alone() -> None:
    targets = two_lesions()
    wrong = targets.clone()
    wrong[..., 14, 3:5] = 1  # nearest to the small lesion of 4 voxels: its Dice becomes 2 * 4 / (4 + 6)
    assert float(lesion_dice_loss(wrong, targets, None)) == pytest.approx((0 + 1 - 8 / 10) / 2, abs=1e-5)


def test_distance_follows_the_spacing() -> None:
    mask = np.zeros((9, 9), bool)
    mask[0, 4], mask[4, 0] = True, True
    near, _ = divide_among_components(mask, ())
    far, _ = divide_among_components(mask, (10.0, 1.0))
    assert near is not None
    assert far is not None
    # From (3, 6): 3.6 voxels to the first and 6.1 to the second; with slices 10 apart 30.1 and 11.7.
    assert near[3, 6] == near[0, 4] != far[3, 6] == far[4, 0]


def test_parts_hold_one_component_each() -> None:
    mask = np.random.default_rng(0).random((12, 13, 14)) < 0.02
    parts, count = divide_among_components(mask, ())
    labelled, expected = ndimage.label(mask, np.ones((3, 3, 3)))
    assert parts is not None
    assert count == expected
    assert sorted(set(parts.ravel())) == list(range(count))
    for component in range(1, count + 1):
        assert len(set(parts[labelled == component])) == 1


def expect(
    probabilities: NDArray[np.float64], targets: NDArray[np.float64], mask: NDArray[np.float64], weights: list[float]
) -> float:
    """Component by component, as the definition reads."""
    totals, shares = 0.0, 0.0
    for channel, weight in enumerate(weights):
        losses = []
        for sample in range(len(targets)):
            p, t = probabilities[sample, channel] * mask[sample, 0], targets[sample, channel] * mask[sample, 0]
            labelled, count = ndimage.label(t, np.ones((3,) * t.ndim))
            if not count:
                continue
            nearest = labelled[tuple(ndimage.distance_transform_edt(labelled == 0, return_indices=True)[1])]
            for component in range(1, count + 1):
                part = nearest == component
                losses.append(1 - 2 * (p * t)[part].sum() / (p[part].sum() + t[part].sum()))
        if losses:
            totals, shares = totals + weight * np.mean(losses), shares + weight
    return totals / shares


@pytest.mark.parametrize("size", [(9, 10, 11), (20, 24)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weights", [None, (1.0, 5.0, 2.0)])
def test_equals_numpy(size: tuple[int, ...], masked: bool, weights: tuple[float, ...] | None) -> None:
    rng = np.random.default_rng(7)
    targets = (rng.random((2, 3, *size)) < 0.02).astype(float)
    targets[:, 1] = 0
    targets[:, 1, :3, :3] = 1  # a single component
    targets[0, 2] = 0  # none in one sample
    probabilities = rng.random(targets.shape)
    mask = (rng.random((2, 1, *size)) < 0.8).astype(float) if masked else np.ones((2, 1, *size))
    value = lesion_dice_loss(
        torch.tensor(probabilities),
        torch.tensor(targets),
        torch.tensor(mask) if masked else None,
        label_weights=weights,
    )
    assert float(value) == pytest.approx(expect(probabilities, targets, mask, list(weights or (1, 1, 1))), rel=1e-4)


def test_without_any_lesion_the_term_is_zero() -> None:
    logits, targets = torch.randn(2, 1, 5, 6, 7, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 1, 5, 6, 7)
    assert float(lesion_dice_loss(logits.sigmoid(), targets, None)) == 0.0
    values = [build_loss(name, ONE, batch_dice=False)(logits, targets, None) for name in ("lesion_dice", "auto")]
    assert torch.equal(*values)


def test_the_term_is_added_to_dice_and_entropy() -> None:
    targets = two_lesions()
    logits = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0))
    both = build_loss("lesion_dice", ONE, batch_dice=False)(logits, targets, None)
    region = build_loss("auto", ONE, batch_dice=False)(logits, targets, None)
    assert float(both - region) == pytest.approx(float(lesion_dice_loss(logits.sigmoid(), targets, None)), rel=1e-5)


def test_sums_of_many_small_numbers_lose_none() -> None:
    targets = torch.zeros(1, 1, 200, 200, 30)
    targets[..., 0, 0, :], targets[..., -1, -1, :] = 1, 1
    probabilities = torch.where(targets > 0, 1.0, 1e-5)
    # Each lesion has 30 voxels and half of all others: 599970 of 0.00001; a float32 sum would stop growing early.
    expected = 1 - 60 / (60 + 5.9997)
    assert float(lesion_dice_loss(probabilities, targets, None)) == pytest.approx(expected, rel=1e-4)
