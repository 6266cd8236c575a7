"""What every registered preset gives."""

import json
from itertools import pairwise
from math import prod

import pytest
import torch

from medseg.core.plan import Configuration, Plan
from medseg.networks import build_network
from medseg.planning import PRESETS, make_plan
from tests.planning.fingerprints import make_fingerprint

SCANS = {
    "isotropic": ([(40, 52, 36)] * 4, [(1.0, 1.0, 1.0)] * 4),
    "thick slices": ([(128, 128, 20)] * 4, [(0.8, 0.8, 5.0)] * 4),
    "pictures": ([(256, 320, 1)] * 4, [(1.0, 1.0, 1.0)] * 4),
}


def plan_for(preset: str, scans: str) -> Plan:
    shapes, spacings = SCANS[scans]
    return make_plan(make_fingerprint(shapes, spacings, channels=("CT", "PET")), preset=preset)


def list_configurations() -> list[tuple[str, str, Configuration, Plan]]:
    plans = {(preset, scans): plan_for(preset, scans) for preset in PRESETS for scans in SCANS}
    return [
        (preset, scans, configuration, plan)
        for (preset, scans), plan in plans.items()
        for configuration in plan.configurations.values()
    ]


EVERY = list_configurations()
NAMES = [f"{preset}-{scans}-{configuration.name}" for preset, scans, configuration, _ in EVERY]


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("scans", list(SCANS))
def test_plan_goes_through_its_file_and_comes_out_the_same_twice(preset: str, scans: str) -> None:
    plan = plan_for(preset, scans)
    assert plan == plan_for(preset, scans)
    assert Plan.model_validate(json.loads(plan.to_json())) == plan
    assert plan.preset == preset
    assert list(plan.configurations) == (["2d"] if scans == "pictures" else ["2d", "3d_fullres"])


@pytest.mark.parametrize(("preset", "scans", "configuration", "plan"), EVERY, ids=NAMES)
def test_every_choice_has_a_reason(preset: str, scans: str, configuration: Configuration, plan: Plan) -> None:
    for choice in ("spacing_mm", "patch_size", "batch_size", "normalisation", "network", "training"):
        assert plan.reasons[f"{configuration.name}.{choice}"].endswith(".")


@pytest.mark.parametrize(("preset", "scans", "configuration", "plan"), EVERY, ids=NAMES)
def test_network_can_be_built_and_takes_the_patch(
    preset: str, scans: str, configuration: Configuration, plan: Plan
) -> None:
    with torch.device("meta"):  # sizes alone, without memory or arithmetic
        network = build_network(configuration, len(plan.channels), plan.labels.channel_count)
        patch = configuration.patch_size[3 - configuration.dimensions :]
        logits = network.train()(torch.empty(2, len(plan.channels), *patch))
    assert tuple(logits[0].shape) == (2, plan.labels.channel_count, *patch)
    assert all(prod(fine.shape) > prod(coarse.shape) for fine, coarse in pairwise(logits))


@pytest.mark.parametrize(("preset", "scans", "configuration", "plan"), EVERY, ids=NAMES)
def test_numbers_are_ones_that_training_can_use(
    preset: str, scans: str, configuration: Configuration, plan: Plan
) -> None:
    training = configuration.training
    assert configuration.batch_size >= 2
    assert configuration.memory_gb > 0
    assert training.epochs * training.iterations_per_epoch > 0
    assert 0 < training.learning_rate < 1
    assert 0 <= training.foreground_share <= 1
    assert 0 <= training.ema_decay < 1
    assert (configuration.patch_size[0] == 1) == (configuration.dimensions == 2)
