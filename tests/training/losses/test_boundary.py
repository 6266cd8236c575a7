"""Boundary and Hausdorff distance losses in closed form."""

import numpy as np
import pytest
import torch

from medseg.core.labels import LabelScheme
from medseg.training.losses import build_loss, supervise_depths
from medseg.training.losses.boundary import cost_by_boundary, cost_by_hausdorff
from tests.preprocessing.examples import CLASSES

ONE = LabelScheme.make({"tumour": 1})


def planes(*ends: int, length: int = 8) -> list[torch.Tensor]:
    """Maps (1, 1, length, 2) that are 1 up to a row."""
    return [(torch.arange(length) < end).float().reshape(1, 1, length, 1).expand(1, 1, length, 2) for end in ends]


def test_boundary_cost_is_how_far_each_wrong_voxel_lies_from_the_true_border() -> None:
    found, true = planes(6, 4)
    assert cost_by_boundary(found, true, None)[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1, 2, 0, 0]
    found, true = planes(1, 4)
    assert cost_by_boundary(found, true, None)[0, 0, :, 0].tolist() == [0, 3, 2, 1, 0, 0, 0, 0]


def test_hausdorff_cost_is_the_squared_distance_from_both_borders() -> None:
    found, true = planes(6, 4)
    assert cost_by_hausdorff(found, true, None)[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1 + 4, 4 + 1, 0, 0]


def test_half_a_probability_costs_half_and_a_quarter() -> None:
    found, true = planes(6, 4)
    doubt = 0.2 * found  # below one half: nothing is predicted, so that there is no predicted border
    assert cost_by_boundary(doubt, true, None)[0, 0, 4, 0] == pytest.approx(0.2)
    assert cost_by_hausdorff(doubt, true, None)[0, 0, 5, 0] == pytest.approx(0.2**2 * 2**2)


@pytest.mark.parametrize("cost", [cost_by_boundary, cost_by_hausdorff])
def test_distances_follow_the_spacing(cost: object) -> None:
    found, true = planes(6, 4)
    near = cost(found, true, None, ())  # type: ignore[operator]
    far = cost(found, true, None, (3.0, 1.0))  # type: ignore[operator]
    assert torch.allclose(far, near * (3 if cost is cost_by_boundary else 9))


@pytest.mark.parametrize("cost", [cost_by_boundary, cost_by_hausdorff])
def test_a_perfect_answer_costs_nothing_and_no_voxel_less(cost: object) -> None:
    generator = torch.Generator().manual_seed(0)
    true = (torch.rand(2, 2, 6, 7, 8, generator=generator) < 0.3).float()
    assert not cost(true, true, None).any()  # type: ignore[operator]
    assert (cost(torch.rand(true.shape, generator=generator), true, None) >= 0).all()  # type: ignore[operator]


@pytest.mark.parametrize(("name", "cost"), [("boundary", cost_by_boundary), ("hausdorff", cost_by_hausdorff)])
@pytest.mark.parametrize("strength", [0.0, 6.0])
def test_the_term_is_added_and_is_never_larger_than_the_rest(name: str, cost: object, strength: float) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.zeros(2, 1, 16, 20, 24)
    targets[:, :, 2:6, 3:7, 3:8] = 1
    logits = torch.randn(targets.shape, generator=generator) + strength * (2 * targets - 1)
    region = float(build_loss("auto", ONE, batch_dice=False)(logits, targets, None))
    term = float(cost(logits.sigmoid(), targets, None).mean())  # type: ignore[operator]
    value = float(build_loss(name, ONE, batch_dice=False)(logits, targets, None))
    assert value == pytest.approx(region + min(term, region + 1), rel=1e-5)
    assert (term > region + 1) == (strength == 0.0)  # both sides of the limit are seen


def test_the_background_of_a_softmax_has_no_border_of_its_own() -> None:
    targets = torch.zeros(1, 3, 6, 6)
    targets[:, 1, 2:4, 2:4] = 1
    targets[:, 0] = 1 - targets[:, 1]
    logits = 20 * (targets - 0.5)
    logits[:, 0, 0, 0], logits[:, 1, 0, 0] = -10, 10  # one voxel wrongly the first class, 2 sqrt 2 from its border
    region = float(build_loss("dice_ce", CLASSES, batch_dice=True)(logits, targets, None))
    value = float(build_loss("boundary", CLASSES, batch_dice=True)(logits, targets, None))
    assert value - region == pytest.approx(2 * np.sqrt(2) / (2 * 36), rel=1e-3)


def test_a_class_of_weight_three_has_three_quarters_of_the_term() -> None:
    found, true = planes(6, 4)
    other, right = planes(8, 8)
    probabilities = torch.cat([found, other], 1).clamp(1e-6, 1 - 1e-6)
    targets = torch.cat([true, right], 1)
    labels = LabelScheme.make({"whole": [1, 2], "core": [2]})
    logits = torch.logit(probabilities)
    terms = [
        float(build_loss("boundary", labels, batch_dice=True, class_weights=weights)(logits, targets, None))
        - float(build_loss("auto", labels, batch_dice=True, class_weights=weights)(logits, targets, None))
        for weights in ((1.0, 1.0), (3.0, 1.0))
    ]
    assert terms[1] / terms[0] == pytest.approx(1.5, rel=1e-3)


def test_coarser_stages_have_the_region_s_loss_alone() -> None:
    found, true = planes(6, 4)
    logits = 8 * (found - 0.5)
    stages = [logits, logits[..., 1::2, 1::2], logits[..., 2::4, 1:]]
    region = build_loss("auto", ONE, batch_dice=False)
    detailed = build_loss("hausdorff", ONE, batch_dice=False)
    expected = 2 / 3 * detailed(stages[0], true, None) + 1 / 3 * region(stages[1], true[..., 1::2, 1::2], None)
    assert float(supervise_depths(detailed, stages, true, None)) == pytest.approx(float(expected))
