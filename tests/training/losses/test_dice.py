"""Dice plus cross-entropy against plain numpy and PyTorch."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.training.losses import SMOOTH, build_loss, soft_dice_loss
from tests.preprocessing.examples import CLASSES, REGIONS


def draw(channels: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, channels, 4, 5, 6))
    targets = np.eye(channels)[rng.integers(0, channels, (2, 4, 5, 6))].transpose(0, 4, 1, 2, 3)
    return logits, targets, (rng.random((2, 1, 4, 5, 6)) < 0.7).astype(float)


def expect_dice(probabilities: NDArray[np.float64], targets: NDArray[np.float64], *, batch_dice: bool) -> float:
    """Minus the mean of 2 |PT| / (|P| + |T|), channel by channel and sample by sample."""
    groups = [slice(None)] if batch_dice else [slice(n, n + 1) for n in range(len(targets))]
    values = [
        (2 * (probabilities[g, c] * targets[g, c]).sum() + SMOOTH)
        / (probabilities[g, c].sum() + targets[g, c].sum() + SMOOTH)
        for g in groups
        for c in range(targets.shape[1])
    ]
    return -float(np.mean(values))


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_dice_ce_equals_numpy(batch_dice: bool, masked: bool) -> None:
    logits, targets, mask = draw(3)
    weights = mask if masked else np.ones_like(mask)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = -(targets * np.log(probabilities)).sum(1, keepdims=True)
    expected = (entropy * weights).sum() / weights.sum()
    expected += expect_dice((probabilities * weights)[:, 1:], (targets * weights)[:, 1:], batch_dice=batch_dice)
    loss = build_loss("dice_ce", CLASSES, batch_dice=batch_dice)
    value = loss(torch.tensor(logits), torch.tensor(targets), torch.tensor(mask) if masked else None)
    assert float(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_dice_bce_equals_numpy(batch_dice: bool, masked: bool) -> None:
    logits, targets, mask = draw(2)
    targets[:, 0] = np.maximum(targets[:, 0], targets[:, 1])  # regions overlap
    weights = mask if masked else np.ones_like(mask)
    probabilities = 1 / (1 + np.exp(-logits))
    entropy = -(targets * np.log(probabilities) + (1 - targets) * np.log(1 - probabilities))
    expected = (entropy * weights).sum() / (2 * weights.sum())
    expected += expect_dice(probabilities * weights, targets * weights, batch_dice=batch_dice)
    loss = build_loss("dice_bce", REGIONS, batch_dice=batch_dice)
    value = loss(torch.tensor(logits), torch.tensor(targets), torch.tensor(mask) if masked else None)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_a_class_that_is_rightly_absent_counts_as_perfect() -> None:
    targets = torch.zeros(1, 2, 3, 3, 3)
    targets[:, 0] = 1
    value = soft_dice_loss(targets, targets, None, batch_dice=False, skip_first=False)
    assert float(value) == pytest.approx(-1.0, abs=1e-6)


def test_dice_ce_with_class_weights_equals_pytorchs_entropy_and_the_weighted_mean() -> None:
    arrays = draw(3)
    logits, targets = torch.tensor(arrays[0]), torch.tensor(arrays[1])
    weights = (5.0, 0.25)
    entropy = torch.nn.functional.cross_entropy(
        logits, targets.argmax(1), weight=torch.tensor([1.0, *weights]).double()
    )
    probabilities = logits.softmax(1).numpy()
    dice = [expect_dice(probabilities[:, c : c + 1], arrays[1][:, c : c + 1], batch_dice=True) for c in (1, 2)]
    value = build_loss("dice_ce", CLASSES, batch_dice=True, class_weights=weights)(logits, targets, None)
    assert float(value) == pytest.approx(float(entropy) + np.average(dice, weights=weights), rel=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_dice_bce_with_class_weights_is_the_weighted_mean_of_the_channels(masked: bool) -> None:
    logits, targets, mask = (torch.tensor(array) for array in draw(2))
    given = mask if masked else None
    loss = build_loss("dice_bce", REGIONS, batch_dice=True, class_weights=(3.0, 1.0))
    single = build_loss("dice_bce", LabelScheme.make({"one": 1}), batch_dice=True)
    channels = [float(single(logits[:, c : c + 1], targets[:, c : c + 1], given)) for c in (0, 1)]
    assert float(loss(logits, targets, given)) == pytest.approx(np.average(channels, weights=(3, 1)), rel=1e-6)


def test_weighted_entropy_without_any_known_voxel_is_zero() -> None:
    logits, targets, mask = (torch.tensor(array) for array in draw(3))
    value = build_loss("dice_ce", CLASSES, batch_dice=False, class_weights=(1.0, 2.0))(logits, targets, 0 * mask)
    assert float(value) == pytest.approx(-1.0)  # what an empty class gives
