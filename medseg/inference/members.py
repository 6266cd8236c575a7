"""A model's networks in memory: which configuration they serve, and the stage before them in a cascade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from medseg.core.errors import ModelError
from medseg.core.model import Member
from medseg.core.plan import Configuration, Plan
from medseg.inference.engines import Engine, Precision, make_forward
from medseg.inference.model_folder import Model, count_inputs, load_networks
from medseg.inference.sliding_window import Forward
from medseg.networks import BuildNetwork


@dataclass(frozen=True, eq=False)
class LoadedMember:
    """A configuration whose networks are in memory.

    Args:
        plan, configuration: how scans are prepared for it.
        folds: whose networks they are.
        forwards: the networks as functions, one per fold.
        mirror_axes: the patch's axes that may be flipped.
        previous: the stage whose masks it reads; None where it reads images alone.
    """

    plan: Plan
    configuration: Configuration
    folds: tuple[int | str, ...]
    mirror_axes: tuple[int, ...]
    forwards: tuple[Forward, ...] = field(repr=False)
    previous: LoadedMember | None = None


def load_member(
    model: Model,
    member: Member,
    device: torch.device,
    *,
    folds: Sequence[int | str] | None = None,
    engine: Engine = "torch",
    precision: Precision = "exact",
    mirroring: bool = True,
    network: str | BuildNetwork | None = None,
) -> LoadedMember:
    """Load the networks of one member of a model, those of its first stage included.

    Args:
        model: an opened model.
        member: one of its record's.
        device: where the networks run.
        folds: which of them; all of the member's where None. A first stage always has all of its own.
        engine: what computes them.
        precision: ``exact`` computes in float32, ``bf16`` in bfloat16 where a product allows it.
        mirroring: whether mirrored copies are averaged.
        network: the function that built the network in training, where it was an object.
    Returns:
        the networks, ready to run.
    Raises:
        ModelError: there is no such fold, or the weights do not fit.
    """
    wanted = tuple(folds) if folds is not None else member.default_folds
    missing = [fold for fold in wanted if fold not in member.folds]
    if missing or not wanted:
        known = ", ".join(map(str, member.folds))
        raise ModelError(f"the model has no fold {missing or ''}", file=model.folder, remedy=f"It has: {known}")
    configuration = model.plan.configuration(member.configuration)
    previous = None
    if member.previous is not None:
        stage = Member(configuration=member.previous, folds=member.previous_folds)
        previous = load_member(
            model, stage, device, engine=engine, precision=precision, mirroring=mirroring, network=network
        )
    channels = count_inputs(model.plan, member)
    forwards = [
        make_forward(module, configuration, channels, device, engine=engine, precision=precision)
        for module in load_networks(model, member, wanted, device, network)
    ]
    # A first stage may have been trained with other flips than the model's.
    first = all(member.configuration != known.configuration for known in model.record.members)
    axes = configuration.training.prediction_axes if first else model.record.mirror_axes
    axes = axes if mirroring else ()
    return LoadedMember(model.plan, configuration, wanted, axes, tuple(forwards), previous)
