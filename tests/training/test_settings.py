"""Other values than the plan's for one training."""

import pytest

from medseg.core.errors import PlanError
from medseg.networks import NETWORKS, UNETS
from medseg.training.settings import change_settings, check_settings
from tests.training.examples import make_configuration


def test_settings_change_values_of_any_kind() -> None:
    before = make_configuration()
    changed = change_settings(
        before,
        {
            "learning_rate": "0.5",
            "batch_size": "4",
            "patch_size": "16,8,24",
            "batch_dice": "true",
            "mirror_axes": "0,2",
            "class_weights": "1,2.5",
            "gradient_checkpointing": "true",
            "loss": "dice_ce",
        },
    )
    assert changed.training.learning_rate == 0.5
    assert changed.batch_size == 4
    assert changed.patch_size == (16, 8, 24)
    assert changed.batch_dice is True
    assert changed.training.mirror_axes == (0, 2)
    assert changed.training.class_weights == (1.0, 2.5)
    assert changed.training.gradient_checkpointing is True
    assert changed.training.loss == "dice_ce"
    assert change_settings(before, {"mirror_axes": ""}).training.mirror_axes == ()
    assert change_settings(before, {}) == before


def test_sides_are_set_and_taken_away() -> None:
    sided = change_settings(make_configuration(), {"side_axis": "2", "side_pairs": "1:2,3:4"})
    assert sided.training.side_axis == 2
    assert sided.training.side_pairs == ((1, 2), (3, 4))
    none = change_settings(sided, {"side_axis": "none", "side_pairs": ""})
    assert none.training.side_axis is None
    assert none.training.side_pairs == ()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_is_set_by_its_name(name: str) -> None:
    before = make_configuration()
    changed = change_settings(before, {"network": name})
    assert changed.network == before.network.model_copy(update={"name": name})


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in UNETS])
def test_networks_that_pad_take_any_patch(name: str) -> None:
    assert change_settings(make_configuration(), {"network": name, "patch_size": "7,9,5"}).patch_size == (7, 9, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": "1"}, "unknown setting 'lr'"),
        ({"spacing_mm": "2,2,2"}, "unknown setting 'spacing_mm'"),  # the prepared cases have another
        ({"memory_gb": "2"}, "unknown setting 'memory_gb'"),
        ({"network": "x"}, "unknown network 'x'.*Known: plain_unet.*mednext_s"),
        ({"loss": "x"}, "unknown loss 'x'.*Known: dice_ce"),
        ({"batch_size": "many"}, "batch_size: .*valid integer"),
        ({"optimiser": "adam"}, "training.optimiser: .*'sgd' or 'adamw'"),
        ({"patch_size": "8,8"}, "patch_size.2: "),
        ({"patch_size": "8,7,8"}, "multiples of 2, 2, 2"),
        ({"batch_size": "0"}, "batch_size: .*greater than or equal to 1"),
        ({"learning_rate": "-1"}, "training.learning_rate: .*greater than 0"),
        ({"mirror_axes": "0,7"}, "training.mirror_axes.1: .*less than or equal to 2"),
        ({"side_pairs": "1-2"}, "training.side_pairs"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        change_settings(make_configuration(), settings)


def test_what_fits_no_configuration_is_refused_without_one() -> None:
    check_settings({"loss": "auto", "network": "segresnet", "batch_size": "many"})
    for settings in ({"lr": "1"}, {"network": "x"}, {"loss": "x"}):
        with pytest.raises(PlanError, match="unknown"):
            check_settings(settings)
    with pytest.raises(PlanError, match="no module"):
        check_settings({}, ["no_such_plugin"])
