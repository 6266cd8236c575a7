"""What every registered loss does."""

import pytest
import torch

from medseg.training.losses import LOSSES, build_loss, supervise_depths
from tests.preprocessing.examples import CLASSES, REGIONS

SCHEMES = {"classes": CLASSES, "regions": REGIONS}

pytestmark = [
    pytest.mark.parametrize(
        ("name", "scheme"),
        [(name, scheme) for name in LOSSES for scheme in SCHEMES if (name, scheme) != ("dice_ce", "regions")],
    ),
    pytest.mark.parametrize("batch_dice", [False, True]),
]
WEIGHTS = pytest.mark.parametrize("weights", [(), (4.0, 0.5)])


def build(name: str, scheme: str, batch_dice: bool, weights: tuple[float, ...] = ()):  # type: ignore[no-untyped-def]
    return build_loss(name, SCHEMES[scheme], batch_dice=batch_dice, class_weights=weights, spacing_mm=())


def draw(scheme: str, dimensions: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    size = (5, 6, 7)[:dimensions]
    classes = torch.randint(0, 3, (2, *size), generator=generator)
    targets = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    if scheme == "regions":
        targets = torch.stack([classes > 0, classes > 1], 1).float()
    mask = (torch.rand(2, 1, *size, generator=generator) < 0.8).float()
    return torch.randn(targets.shape, generator=generator), targets, mask


@WEIGHTS
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_finite_number_with_a_gradient_everywhere(
    name: str, scheme: str, batch_dice: bool, dimensions: int, weights: tuple[float, ...]
) -> None:
    logits, targets, _ = draw(scheme, dimensions)
    logits.requires_grad_()
    value = build(name, scheme, batch_dice, weights)(logits, targets, None)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).all()


def test_the_same_again(name: str, scheme: str, batch_dice: bool) -> None:
    loss = build(name, scheme, batch_dice)
    assert torch.equal(loss(*draw(scheme)), loss(*draw(scheme)))


@WEIGHTS
def test_better_logits_cost_less(name: str, scheme: str, batch_dice: bool, weights: tuple[float, ...]) -> None:
    loss = build(name, scheme, batch_dice, weights)
    logits, targets, _ = draw(scheme)
    costs = [float(loss(logits + strength * (targets - 0.5), targets, None)) for strength in (-8, 0, 2, 8, 200)]
    assert costs == sorted(costs, reverse=True)
    # Cross-entropy and all other terms go to 0 and Dice to -1.
    assert costs[-1] == pytest.approx(-1.0, abs=1e-4)


@WEIGHTS
def test_ignored_voxels_change_nothing(name: str, scheme: str, batch_dice: bool, weights: tuple[float, ...]) -> None:
    loss = build(name, scheme, batch_dice, weights)
    logits, targets, mask = draw(scheme)
    logits.requires_grad_()
    value = loss(logits, targets, mask)
    value.backward()
    assert (logits.grad * (1 - mask) == 0).all()
    other_targets = torch.where(mask > 0, targets, 1 - targets)
    other_logits = torch.where(mask > 0, logits.detach(), 50.0)
    assert torch.equal(loss(other_logits, other_targets, mask), value.detach())


def test_a_mask_of_ones_is_no_mask(name: str, scheme: str, batch_dice: bool) -> None:
    loss = build(name, scheme, batch_dice)
    logits, targets, mask = draw(scheme)
    assert torch.allclose(loss(logits, targets, torch.ones_like(mask)), loss(logits, targets, None))


def test_weights_of_one_are_no_weights(name: str, scheme: str, batch_dice: bool) -> None:
    logits, targets, mask = draw(scheme)
    weighted = build(name, scheme, batch_dice, (1.0, 1.0))(logits, targets, mask)
    assert torch.allclose(weighted, build(name, scheme, batch_dice)(logits, targets, mask))


def test_a_heavier_class_costs_more_where_it_is_wrong(name: str, scheme: str, batch_dice: bool) -> None:
    _, targets, _ = draw(scheme)
    logits = 8 * (targets - 0.5)
    logits[:, -1] = -4 * (2 * targets[:, -1] - 1)
    assert build(name, scheme, batch_dice, (1.0, 3.0))(logits, targets, None) > build(name, scheme, batch_dice)(
        logits, targets, None
    )


@pytest.mark.parametrize("kind", ["empty", "full", "ignored"])
def test_empty_full_and_ignored_targets_are_finite(name: str, scheme: str, batch_dice: bool, kind: str) -> None:
    logits, targets, mask = draw(scheme)
    logits.requires_grad_()
    same = torch.zeros_like(targets)
    same[:, {"empty": 0, "full": -1, "ignored": 0}[kind]] = 1 if scheme == "classes" or kind == "full" else 0
    value = build(name, scheme, batch_dice)(logits, same, torch.zeros_like(mask) if kind == "ignored" else None)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@WEIGHTS
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_saturated_half_precision_logits_have_a_finite_gradient(
    name: str, scheme: str, batch_dice: bool, kind: torch.dtype, weights: tuple[float, ...]
) -> None:
    logits, targets, mask = draw(scheme)
    extreme = (logits * 1e4).to(kind).requires_grad_()
    value = build(name, scheme, batch_dice, weights)(extreme, targets, mask)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(extreme.grad).all()


def test_deep_supervision_reaches_every_stage_but_the_coarsest(name: str, scheme: str, batch_dice: bool) -> None:
    _, targets, mask = draw(scheme)
    targets, mask = targets[..., :4, :4, :4], mask[..., :4, :4, :4]
    stages = [torch.randn(*targets.shape[:2], n, n, n).requires_grad_() for n in (4, 2, 1)]
    supervise_depths(build(name, scheme, batch_dice), stages, targets, mask).backward()
    assert [stage.grad is not None for stage in stages] == [True, True, False]
    assert all(torch.isfinite(stage.grad).all() for stage in stages[:2])


def test_descent_from_no_knowledge_finds_the_target(name: str, scheme: str, batch_dice: bool) -> None:
    _, targets, mask = draw(scheme)
    loss, logits = build(name, scheme, batch_dice), torch.zeros_like(targets).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.5)
    for _ in range(40):
        optimiser.zero_grad()
        loss(logits, targets, mask).backward()
        optimiser.step()
    found = logits.argmax(1) == targets.argmax(1) if scheme == "classes" else ((logits > 0) == (targets > 0)).all(1)
    assert found[mask[:, 0] > 0].all()
