"""Focal loss in closed form."""

import math

import pytest
import torch

from medseg.training.losses import build_loss, soft_dice_loss
from medseg.training.losses.focal import focus_costs
from tests.preprocessing.examples import CLASSES, REGIONS


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.9, 0.999])
def test_a_voxel_costs_its_entropy_times_the_squared_doubt(probability: float) -> None:
    cost = float(focus_costs(torch.tensor(-math.log(probability), dtype=torch.float64)))
    assert cost == pytest.approx(-((1 - probability) ** 2) * math.log(probability), rel=1e-6)


def test_no_doubt_costs_nothing_and_has_no_gradient() -> None:
    costs = torch.zeros(3, requires_grad=True)
    focus_costs(costs).sum().backward()
    assert costs.grad is not None
    assert costs.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("scheme", "channels"), [(CLASSES, 3), (REGIONS, 2)])
def test_equal_probabilities_cost_the_same_everywhere(scheme: object, channels: int) -> None:
    logits, targets = torch.zeros(1, channels, 4, 4), torch.zeros(1, channels, 4, 4)
    targets[:, 0] = 1
    softmax = channels == 3
    right = 1 / 3 if softmax else 0.5
    probabilities = torch.full_like(logits, right)
    dice = soft_dice_loss(probabilities, targets, None, batch_dice=False, skip_first=softmax)
    value = build_loss("dice_focal", scheme, batch_dice=False)(logits, targets, None)  # type: ignore[arg-type]
    assert float(value - dice) == pytest.approx(-((1 - right) ** 2) * math.log(right), rel=1e-5)
