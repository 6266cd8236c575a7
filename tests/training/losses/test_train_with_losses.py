"""Every loss of the table through a whole training."""

from pathlib import Path

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.training.losses import LOSSES
from tests.preprocessing.examples import REGIONS
from tests.training.examples import Setting, make_setting

# Of the scans that ``make_setting`` draws: a body of 1 with two balls of 3.
NESTED = REGIONS.model_copy(update={"labels": {"whole": (1, 3), "core": (3,)}, "paint_order": (1, 3)})


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return make_setting(tmp_path_factory.mktemp("classes"), epochs=1)


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return make_setting(tmp_path_factory.mktemp("regions"), NESTED, epochs=1)


@pytest.mark.parametrize("name", list(LOSSES))
def test_classes_can_be_trained_with_it(classes: Setting, tmp_path: Path, name: str) -> None:
    trained = classes.train(str(tmp_path), loss=name)
    assert trained.history[-1].loss is not None
    assert trained.history[-1].validation_loss is not None
    assert trained.history[-1].skipped_steps == 0
    assert all(torch.isfinite(weight).all() for weight in trained.weights.values())


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "dice_ce"])
def test_regions_can_be_trained_with_it(regions: Setting, tmp_path: Path, name: str) -> None:
    trained = regions.train(str(tmp_path), loss=name)
    assert trained.history[-1].loss is not None
    assert trained.history[-1].skipped_steps == 0


def test_regions_are_not_trained_with_a_loss_of_classes(regions: Setting, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="dice_ce needs exclusive classes"):
        regions.train(str(tmp_path), loss="dice_ce")


def test_class_weights_of_the_plan_change_what_is_learnt(tmp_path: Path) -> None:
    usual, weighted = (
        make_setting(tmp_path / name, epochs=1, class_weights=weights).train(str(tmp_path / name))
        for name, weights in (("usual", ()), ("weighted", (1.0, 20.0)))
    )
    assert usual.history[-1].loss != weighted.history[-1].loss
