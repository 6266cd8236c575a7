"""Losses by name, by object and by label scheme; class weights."""

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.core.labels import LabelScheme
from medseg.training.losses import LOSSES, DetailedLoss, LossSetting, build_loss
from tests.preprocessing.examples import CLASSES, REGIONS


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (2, 6, 7), generator=generator)
    return torch.randn(2, 3, 6, 7, generator=generator), torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()


@pytest.mark.parametrize(("labels", "name"), [(CLASSES, "dice_ce"), (REGIONS, "dice_bce")])
def test_auto_goes_by_the_labels(labels: object, name: str) -> None:
    logits, targets = draw()
    chosen = build_loss("auto", labels, batch_dice=False)  # type: ignore[arg-type]
    named = build_loss(name, labels, batch_dice=False)  # type: ignore[arg-type]
    assert torch.equal(chosen(logits, targets, None), named(logits, targets, None))


def test_an_object_stands_in_for_a_name_and_unknown_names_are_refused() -> None:
    own = torch.nn.Module()
    assert build_loss(own, CLASSES, batch_dice=False) is own
    with pytest.raises(PlanError, match=r"unknown loss 'own'.*dice_ce"):
        build_loss("own", CLASSES, batch_dice=False)


def test_the_table_holds_what_the_manual_names() -> None:
    assert set(LOSSES) >= {"dice_ce", "dice_bce", "dice_focal", "tversky", "boundary", "hausdorff", "lesion_dice"}


@pytest.mark.parametrize("labels", [REGIONS, LabelScheme.make({"tumour": 1})])
def test_a_loss_over_classes_is_refused_where_each_channel_stands_alone(labels: LabelScheme) -> None:
    with pytest.raises(PlanError, match=r"dice_ce needs exclusive classes.*Use dice_bce, or auto"):
        build_loss("dice_ce", labels, batch_dice=False)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1.0,), "1 numbers for 2 labels.*organ, tumour"), ((1.0, 0.0), "above 0"), ((1.0, float("inf")), "above 0")],
)
def test_weights_that_do_not_fit_are_refused(weights: tuple[float, ...], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        build_loss("auto", CLASSES, batch_dice=False, class_weights=weights)


def test_weights_for_an_object_are_refused() -> None:
    with pytest.raises(PlanError, match="your own loss"):
        build_loss(torch.nn.Module(), CLASSES, batch_dice=False, class_weights=(1.0, 2.0))


def test_a_registered_loss_is_told_what_it_is_for() -> None:
    seen: list[LossSetting] = []
    name = "seen_by_a_test"
    if name not in LOSSES:
        LOSSES.add(name)(lambda setting: seen.append(setting) or torch.nn.Module())  # type: ignore[func-returns-value]
    try:
        build_loss(name, CLASSES, batch_dice=True, class_weights=(2.0, 3.0), spacing_mm=(3.0, 1.5, 1.5))
        build_loss(name, REGIONS, batch_dice=False, class_weights=(2.0, 3.0), spacing_mm=(None, 1.5, 1.5))
    finally:
        LOSSES._entries.pop(name)
    assert seen[0] == LossSetting("softmax", True, (1.0, 2.0, 3.0), (2.0, 1.0, 1.0))
    assert seen[0].label_weights == (2.0, 3.0)
    assert seen[1] == LossSetting("sigmoid", False, (2.0, 3.0), ())


def test_losses_of_details_say_so() -> None:
    detailed = {name for name in LOSSES if isinstance(build_loss(name, CLASSES, batch_dice=False), DetailedLoss)}
    assert detailed == {"boundary", "hausdorff", "lesion_dice"}
