"""From a folder that nnU-Net trained in to a model folder of ours."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core import atomic
from medseg.core.errors import MedsegError, ModelError
from medseg.core.label_codes import LabelCodes
from medseg.core.model import Familiar, Member, ModelRecord
from medseg.core.plan import Plan
from medseg.inference.familiarity import familiar_from_nnunet
from medseg.inference.model_folder import finish_model, write_weights
from medseg.inference.nnunet.find import ModelFolder
from medseg.inference.nnunet.json_files import read_object
from medseg.inference.nnunet.plans import DATASET, SourcePlan
from medseg.inference.nnunet.stage import Fold, Keep, Stage, check_cascade, find_first_stage, read_stage
from medseg.inference.self_test import add_self_test
from medseg.io.naming import read_codes

logger = logging.getLogger(__name__)

FINGERPRINT = "dataset_fingerprint.json"


@dataclass(frozen=True)
class Verdict:
    """What an nnU-Net model is and whether medseg can use it.

    Args:
        name: the folder, as it was found.
        configuration, trainer: as its checkpoints say; empty where none could be read.
        folds: those with a checkpoint.
        error: why it is refused; None where it can be used.
        notes: what the user should know, a sentence each.
    """

    name: str
    configuration: str = ""
    trainer: str = ""
    folds: tuple[Fold, ...] = ()
    error: MedsegError | None = None
    notes: tuple[str, ...] = ()


def examine_model(model: ModelFolder) -> Verdict:
    """Whether a model can be imported: everything is read and compared as for an import, and nothing written.

    Args:
        model: a folder that ``find_models`` found.
    Returns:
        the verdict.
    """
    return _judge(model, lambda configuration, fold, weights: None)[0]


def import_model(model: ModelFolder, output: str | Path) -> Verdict:
    """Write an nnU-Net model as a model of ours, whole or not at all.

    Args:
        model: a folder that ``find_models`` found; of a cascade the second stage, with the first beside it.
        output: the model's folder; it may not hold anything yet.
    Returns:
        the verdict; where it has an error nothing is written.
    Raises:
        ModelError: ``output`` is there and not empty.
        OSError: the disk is full or the folder cannot be written.
    """
    output = Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ModelError(
            "there is something in it already, which an import does not write over", code="exists", file=output,
            remedy="Give a new or an empty folder",
        )  # fmt: skip
    atomic.remove_leftovers(output.parent)
    staging = atomic.temporary_path(output)
    try:
        verdict, stages = _judge(model, lambda name, fold, weights: write_weights(staging, name, fold, weights))
        for note in verdict.notes:
            logger.warning("%s: %s", model.name, note)
        if verdict.error is None:
            finish_model(staging, _unite_plans(stages), _describe(model, stages, verdict))
            add_self_test(staging)
            output.parent.mkdir(parents=True, exist_ok=True)
            staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return verdict


def _judge(model: ModelFolder, keep: Keep) -> tuple[Verdict, list[Stage]]:
    """Read a model, the first stage of a cascade after the second; a refusal becomes part of the verdict."""
    stages: list[Stage] = []
    folds = tuple(fold for fold, _ in model.checkpoints)
    found = {"configuration": "", "trainer": ""}
    try:
        stages.append(read_stage(model, keep, found))
        previous = stages[0].source.previous
        if previous is not None:
            stages.append(read_stage(find_first_stage(model, stages[0], previous), keep, {}))
            check_cascade(stages[0], stages[1], model)
        _read_codes(model, stages[0])
    except MedsegError as error:
        return Verdict(model.name, found["configuration"], found["trainer"], folds, error), []
    strangers = [stage.trainer.name for stage in stages if not stage.trainer.is_known]
    notes = [f"{name} is no trainer that medseg knows; every weight fits the network of the plan" for name in strangers]
    if len(stages) > 1:
        notes.append(f"a cascade, with {stages[1].configuration} before it")
    return Verdict(model.name, found["configuration"], found["trainer"], folds, None, tuple(notes)), stages


def _unite_plans(stages: Sequence[Stage]) -> Plan:
    """One plan with the configurations of all stages."""
    plan = stages[0].source.plan
    return plan.model_copy(
        update={
            "configurations": {s.configuration: s.source.plan.configurations[s.configuration] for s in stages},
            "reasons": {name: reason for s in stages for name, reason in s.source.plan.reasons.items()},
        }
    )


def _describe(model: ModelFolder, stages: Sequence[Stage], verdict: Verdict) -> ModelRecord:
    from medseg import __version__

    stage, previous = stages[0], stages[1:]
    member = Member(configuration=stage.configuration, folds=stage.folds)
    provenance = {
        "origin": "nnU-Net",
        "imported_by": f"medseg {__version__}",
        "folder": model.name,
        "trainer": stage.trainer.name,
        "plans": stage.source.name,
        **stage.digests,
    }
    for first in previous:
        folds = Member(configuration=first.configuration, folds=first.folds).default_folds
        member = member.model_copy(update={"previous": first.configuration, "previous_folds": folds})
        provenance |= {f"{first.configuration} {fold}": digest for fold, digest in first.digests.items()}
    if verdict.notes:
        provenance["note"] = "; ".join(verdict.notes)
    return ModelRecord(
        labels=stage.source.plan.labels,
        channels=stage.source.plan.channels,
        members=(member,),
        mirror_axes=stage.mirror_axes,
        provenance=provenance,
        familiar=_read_familiar(model, stage.source),
        codes=_read_codes(model, stage),
    )


def _read_codes(model: ModelFolder, stage: Stage) -> dict[str, LabelCodes]:
    """What its ``dataset.json`` says of its labels in DICOM's vocabulary; raises FormatError where that is wrong."""
    file = model.path / DATASET
    return read_codes(read_object(file), stage.source.plan.labels, file)


def _read_familiar(model: ModelFolder, source: SourcePlan) -> Familiar | None:
    """What the training scans looked like; None where the fingerprint is missing or damaged."""
    try:
        content = read_object(model.path / FINGERPRINT)
    except (MedsegError, OSError):
        return None
    return familiar_from_nnunet(content, axes=source.reader_axes, orientation=source.reader_orientation)
