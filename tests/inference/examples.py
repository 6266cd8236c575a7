"""A small model on disk, for the tests of inference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.core.labels import LabelScheme
from medseg.core.model import Member, ModelRecord, Rule
from medseg.core.plan import Configuration, Plan
from medseg.inference import finish_model, write_weights
from medseg.networks import build_network
from tests.preprocessing.examples import CLASSES
from tests.training.examples import make_configuration, make_plan


def write_model(
    folder: Path,
    *,
    folds: Sequence[int | str] = (0, 1),
    labels: LabelScheme = CLASSES,
    postprocessing: Sequence[Rule] = (),
    **options: Any,
) -> tuple[Plan, Configuration]:
    """Write a model of untrained networks; the options are those of ``make_configuration``."""
    configuration = make_configuration(**options)
    plan = make_plan(configuration, labels)
    for fold in folds:
        network = build_network(
            configuration, len(plan.channels), labels.channel_count, seed=fold if isinstance(fold, int) else 99
        )
        write_weights(folder, configuration.name, fold, network.state_dict())
    record = ModelRecord(
        labels=labels,
        channels=plan.channels,
        members=(Member(configuration=configuration.name, folds=tuple(folds)),),
        mirror_axes=configuration.training.mirror_axes,
        postprocessing=tuple(postprocessing),
    )
    finish_model(folder, plan, record)
    return plan, configuration
