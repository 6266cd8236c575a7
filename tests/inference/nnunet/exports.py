"""Small models of every kind that can be exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.core.labels import LabelScheme
from medseg.core.model import Member, ModelRecord
from medseg.core.plan import Configuration, NetworkPlan, Plan
from medseg.inference import Model, finish_model, open_model, write_weights
from medseg.inference.model_folder import count_inputs
from medseg.networks import build_network
from tests.training.examples import make_configuration

ORGANS = LabelScheme.make({"organ": 1, "tumour": 2})
ONE = LabelScheme.make({"tumour": 1})
REGIONS = LabelScheme.make({"whole": [1, 2], "core": 2}, paint_order=(1, 2))
DEEP_3D = NetworkPlan(
    features=(4, 6, 8),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    convolutions=(2, 1, 2),
    decoder_convolutions=(1, 2),
)


def make_plan(configurations: Sequence[Configuration], labels: LabelScheme = ORGANS, **changes: Any) -> Plan:
    """A plan of some configurations that sees files along k, j, i."""
    content = {
        "dataset": "example",
        "preset": "nnunet",
        "target": "test",
        "channels": tuple(f"c{n}" for n in range(len(configurations[0].normalisation))),
        "labels": labels,
        "axis_order": (2, 1, 0),
        "configurations": {configuration.name: configuration for configuration in configurations},
        "reasons": {},
    }
    return Plan.model_validate(content | changes)


def write_model(
    folder: Path, plan: Plan, members: Sequence[Member] | None = None, *, mirror_axes: Sequence[int] = (), **record: Any
) -> Model:
    """Write and open a model of untrained networks, by default one fold of the plan's only configuration."""
    if members is None:
        members = [Member(configuration=name, folds=(0,)) for name in plan.configurations]
    for member in members:
        stages = [member]
        if member.previous is not None:
            stages.append(Member(configuration=member.previous, folds=member.previous_folds))
        for stage in stages:
            inputs = count_inputs(plan, stage)
            for fold in stage.folds:
                seed = 2 + fold if isinstance(fold, int) else 99
                configuration = plan.configuration(stage.configuration)
                network = build_network(configuration, inputs, plan.labels.channel_count, seed=seed)
                state = network.state_dict()
                for name in state:
                    if name.startswith("heads.") and name.endswith("weight"):  # each label then wins somewhere
                        state[name] = state[name] - state[name].mean(dim=1, keepdim=True)
                write_weights(folder, configuration.name, fold, state)
    finish_model(
        folder,
        plan,
        ModelRecord(
            labels=plan.labels,
            channels=plan.channels,
            members=tuple(members),
            mirror_axes=tuple(mirror_axes),
            **record,
        ),
    )
    return open_model(folder)


def write_example(folder: Path, labels: LabelScheme = ORGANS, **options: Any) -> Model:
    """A model of one configuration; the options are those of ``make_configuration``."""
    return write_model(folder, make_plan([make_configuration(**options)], labels))
