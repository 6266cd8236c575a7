"""Losses against plain numpy, and their weights over the decoder's stages."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medseg.core.errors import PlanError
from medseg.training.losses import (
    SMOOTH,
    build_loss,
    encode_targets,
    soft_dice_loss,
    supervise_depths,
    weigh_depths,
)
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


@pytest.mark.parametrize(("labels", "name"), [(CLASSES, "dice_ce"), (REGIONS, "dice_bce")])
def test_auto_goes_by_the_labels(labels: object, name: str) -> None:
    logits, targets, _ = (torch.tensor(array) for array in draw(3))
    chosen = build_loss("auto", labels, batch_dice=False)  # type: ignore[arg-type]
    named = build_loss(name, labels, batch_dice=False)  # type: ignore[arg-type]
    assert torch.equal(chosen(logits, targets, None), named(logits, targets, None))


def test_an_object_stands_in_for_a_name_and_unknown_names_are_refused() -> None:
    own = torch.nn.Module()
    assert build_loss(own, CLASSES, batch_dice=False) is own
    with pytest.raises(PlanError, match=r"unknown loss 'own'.*dice_ce"):
        build_loss("own", CLASSES, batch_dice=False)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1.0]), (2, [1.0, 0.0]), (3, [2 / 3, 1 / 3, 0]), (4, [4 / 7, 2 / 7, 1 / 7, 0])]
)
def test_stages_count_half_as_much_from_fine_to_coarse(count: int, expected: list[float]) -> None:
    assert weigh_depths(count) == pytest.approx(expected)


def test_supervision_is_the_weighted_sum_on_thinned_targets() -> None:
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        seen.append(targets)
        assert mask is not None
        assert mask.shape[2:] == targets.shape[2:] == logits.shape[2:]
        return logits.mean()

    targets = torch.arange(4 * 8 * 8).reshape(1, 1, 4, 8, 8).float()
    stages = [torch.full((1, 1, 4, 8, 8), 3.0), torch.full((1, 1, 4, 4, 4), 6.0), torch.full((1, 1, 2, 2, 2), 99.0)]
    total = supervise_depths(loss, stages, targets, torch.ones_like(targets))
    assert float(total) == pytest.approx(2 / 3 * 3 + 1 / 3 * 6)
    assert len(seen) == 2  # the coarsest does not count
    assert torch.equal(seen[0], targets)
    assert torch.equal(seen[1], targets[..., 1::2, 1::2])


def test_targets_follow_the_label_scheme() -> None:
    values = np.array([[0, 1, 3, 255], [3, 0, 255, 1]], np.uint8)
    table = torch.from_numpy(CLASSES.channel_table()).float()
    targets, mask = encode_targets(torch.from_numpy(values), table, CLASSES.ignore)
    assert mask is not None
    assert torch.equal(mask[:, 0], torch.from_numpy((values != 255).astype(np.float32)))
    assert torch.equal(targets[:, 1], torch.from_numpy((values == 1).astype(np.float32)))
    assert torch.equal(targets[:, 2], torch.from_numpy((values == 3).astype(np.float32)))
    assert torch.equal(targets.sum(1), mask[:, 0])
    regions, none = encode_targets(torch.tensor([[0, 1, 2]]), torch.from_numpy(REGIONS.channel_table()).float(), None)
    assert none is None
    assert regions[0].tolist() == [[0, 1, 1], [0, 0, 1]]
