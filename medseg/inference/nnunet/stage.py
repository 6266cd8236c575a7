"""Reading one configuration that nnU-Net trained: its plan and the weights of its folds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from medseg.core.errors import MedsegError, ModelError
from medseg.core.manifest import hash_file
from medseg.inference.nnunet.checkpoint import Checkpoint, open_checkpoint
from medseg.inference.nnunet.find import ModelFolder, find_neighbours
from medseg.inference.nnunet.plans import SourcePlan, read_source_plan
from medseg.inference.nnunet.trainers import Trainer, judge_trainer
from medseg.inference.nnunet.weights import translate_weights

# A configuration's name becomes a folder's.
SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}")

Fold = int | str
Keep = Callable[[str, Fold, Mapping[str, Tensor]], object]


@dataclass(frozen=True)
class Stage:
    """One configuration with its trained networks.

    Args:
        source: the plan and what else nnU-Net's files say.
        configuration: its name.
        trainer: who trained it.
        folds: whose networks there are.
        mirror_axes: the axes of our patch that prediction may flip.
        digests: SHA-256 of each fold's checkpoint, ``fold_0`` to digest.
    """

    source: SourcePlan
    configuration: str
    trainer: Trainer
    folds: tuple[Fold, ...]
    mirror_axes: tuple[int, ...]
    digests: dict[str, str]


def read_stage(model: ModelFolder, keep: Keep, found: dict[str, str]) -> Stage:
    """Read a model's plan and checkpoints.

    Args:
        model: a folder that ``find_models`` found.
        keep: gets the configuration, each fold and its weights as our network has them, one fold at a time.
        found: gets ``configuration`` and ``trainer`` as soon as they are known, for messages about a refused model.
    Returns:
        the stage.
    Raises:
        FormatError, ModelError: a file is damaged or holds what medseg cannot use; the error names the file.
    """
    _refuse_folder(model)
    stage: Stage | None = None
    digests: dict[str, str] = {}
    for fold, file in model.checkpoints:
        with _naming(file):
            checkpoint = open_checkpoint(file)
            found.update(configuration=checkpoint.configuration, trainer=checkpoint.trainer)
            if stage is None:
                stage = _start_stage(model, checkpoint, digests)
            elif (checkpoint.configuration, checkpoint.trainer) != (stage.configuration, stage.trainer.name):
                raise ModelError(
                    f"it is of {checkpoint.trainer}, {checkpoint.configuration}, the fold before it of "
                    f"{stage.trainer.name}, {stage.configuration}",
                    code="mixed_folds",
                )
            keep(stage.configuration, fold, _translate(stage, checkpoint))
            digests[f"fold_{fold}"] = hash_file(file)
    assert stage is not None  # a folder without checkpoints is refused above
    return stage


@contextlib.contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors that name no file are about this one."""
    try:
        yield
    except MedsegError as error:
        error.file = error.file or str(file)
        raise


def _refuse_folder(model: ModelFolder) -> None:
    if model.is_first_version:
        raise ModelError(
            "it is of nnU-Net's first version, whose plans are a pickle",
            code="first_version",
            file=model.path,
            remedy="Predict with nnU-Net 1, or train anew",
        )
    if not model.checkpoints:
        raise ModelError(
            "no fold has a checkpoint_final.pth or checkpoint_best.pth",
            code="no_checkpoint",
            file=model.path,
            remedy="Let a fold finish its training",
        )


def _start_stage(model: ModelFolder, checkpoint: Checkpoint, digests: dict[str, str]) -> Stage:
    trainer = judge_trainer(checkpoint.trainer)
    name = checkpoint.configuration
    if not SAFE_NAME.fullmatch(name):
        raise ModelError(f"its configuration is called {name!r}", code="bad_name")
    source = read_source_plan(model.path, name, mirror_axes=checkpoint.mirror_axes, batch_norm=trainer.batch_norm)
    axes = source.plan.configurations[name].training.mirror_axes
    return Stage(source, name, trainer, tuple(fold for fold, _ in model.checkpoints), axes, digests)


def _translate(stage: Stage, checkpoint: Checkpoint) -> dict[str, Tensor]:
    plan = stage.source.plan
    inputs = len(plan.channels) + (len(plan.labels.foreground) if stage.source.previous else 0)
    network = plan.configurations[stage.configuration].network
    return translate_weights(network, inputs, plan.labels.channel_count, checkpoint.weights)


def find_first_stage(model: ModelFolder, stage: Stage, previous: str) -> ModelFolder:
    """The first stage's model beside that of a cascade's second.

    Args:
        model: the second stage's.
        stage: what it is.
        previous: the first stage's configuration.
    Returns:
        the folder whose checkpoints are of that configuration; the usually named one is looked at first.
    Raises:
        ModelError: there is none, or the usually named one cannot be read.
    """
    usual = f"{stage.trainer.name}__{stage.source.name}__{previous}"
    others = [other for other in find_neighbours(model) if other.checkpoints]
    for other in sorted(others, key=lambda other: other.path.name != usual):
        try:
            if open_checkpoint(other.checkpoints[0][1]).configuration == previous:
                return other
        except MedsegError:
            if other.path.name == usual:
                raise
    raise ModelError(
        f"it is the second stage of a cascade, and no model of {previous} stands beside it",
        code="no_first_stage",
        file=model.path,
        remedy=f"Put {usual} into the same folder",
    )


def check_cascade(second: Stage, first: Stage, model: ModelFolder) -> None:
    """Refuse a first stage whose masks are not what the second one reads; raises ModelError.

    Args:
        second, first: the stages.
        model: the second one's folder, for the message.
    """
    ours, theirs = second.source.plan, first.source.plan
    parts = ("channels", "labels", "axis_order", "orientation")
    same = all(getattr(ours, part) == getattr(theirs, part) for part in parts)
    if not same or first.source.previous is not None:
        raise ModelError(
            f"its first stage, {first.configuration}, has other channels, labels or axes, or a first one",
            code="other_first_stage",
            file=model.path,
        )
