"""What every registered loss does."""

import pytest
import torch

from medseg.training.losses import LOSSES, build_loss
from tests.preprocessing.examples import CLASSES

EXCLUSIVE = {"dice_ce"}  # losses over a softmax; all others take each channel by itself

pytestmark = [pytest.mark.parametrize("name", list(LOSSES)), pytest.mark.parametrize("batch_dice", [False, True])]


def draw(dimensions: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    size = (5, 6, 7)[:dimensions]
    classes = torch.randint(0, 3, (2, *size), generator=generator)
    targets = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    mask = (torch.rand(2, 1, *size, generator=generator) < 0.8).float()
    return torch.randn(2, 3, *size, generator=generator), targets, mask


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_finite_number_with_a_gradient_everywhere(name: str, batch_dice: bool, dimensions: int) -> None:
    logits, targets, _ = draw(dimensions)
    logits.requires_grad_()
    value = build_loss(name, CLASSES, batch_dice=batch_dice)(logits, targets, None)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).all()


def test_the_same_again(name: str, batch_dice: bool) -> None:
    loss = build_loss(name, CLASSES, batch_dice=batch_dice)
    assert torch.equal(loss(*draw()), loss(*draw()))


def test_better_logits_cost_less(name: str, batch_dice: bool) -> None:
    loss = build_loss(name, CLASSES, batch_dice=batch_dice)
    logits, targets, _ = draw()
    costs = [float(loss(logits + strength * (targets - 0.5), targets, None)) for strength in (-8, 0, 2, 8, 200)]
    assert costs == sorted(costs, reverse=True)
    # Cross-entropy goes to 0 and Dice to -1.
    assert costs[-1] == pytest.approx(-1.0, abs=1e-4)


def test_ignored_voxels_change_nothing(name: str, batch_dice: bool) -> None:
    loss = build_loss(name, CLASSES, batch_dice=batch_dice)
    logits, targets, mask = draw()
    logits.requires_grad_()
    value = loss(logits, targets, mask)
    value.backward()
    assert (logits.grad * (1 - mask) == 0).all()
    other_targets = torch.where(mask > 0, targets, 1 - targets)
    other_logits = torch.where(mask > 0, logits.detach(), 50.0)
    assert torch.equal(loss(other_logits, other_targets, mask), value.detach())


def test_a_mask_of_ones_is_no_mask(name: str, batch_dice: bool) -> None:
    loss = build_loss(name, CLASSES, batch_dice=batch_dice)
    logits, targets, mask = draw()
    assert torch.allclose(loss(logits, targets, torch.ones_like(mask)), loss(logits, targets, None))


def test_everything_ignored_and_absent_classes_are_finite(name: str, batch_dice: bool) -> None:
    loss = build_loss(name, CLASSES, batch_dice=batch_dice)
    logits, targets, mask = draw()
    logits.requires_grad_()
    absent = torch.zeros_like(targets)
    absent[:, 0] = 1
    value = loss(logits, absent, None) + loss(logits, targets, torch.zeros_like(mask))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_extreme_logits_are_finite(name: str, batch_dice: bool, kind: torch.dtype) -> None:
    logits, targets, mask = draw()
    extreme = (logits * 1e4).to(kind).float()
    assert torch.isfinite(build_loss(name, CLASSES, batch_dice=batch_dice)(extreme, targets, mask))
