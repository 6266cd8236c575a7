"""Where a fine-tuning begins: the weights of a model, or of a run that was trained here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medseg.core.errors import ModelError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import hash_file
from medseg.core.plan import Configuration, Plan
from medseg.core.workspace import Workspace, read_plan
from medseg.inference import open_model, weights_path
from medseg.inference.model_folder import RECORD, Model
from medseg.planning.like import Template
from medseg.training.checkpoint import list_checkpoints, load_checkpoint
from medseg.training.fine_tuning.fitting import MASK

logger = logging.getLogger(__name__)

STATE = "state.safetensors"
AVERAGE = "average."  # what a checkpoint puts before the names of the weights that are kept


@dataclass(frozen=True)
class Start:
    """Weights to begin a training with; they stay on disk until they are read.

    Args:
        folder: the model's or the run's.
        file: the weights.
        digest: what tells these weights from all others.
        dataset: whose cases they were trained on.
        configuration: that they were trained for.
        fold: whose network it is.
        inputs: what each input channel of that network is.
        labels: what its outputs stand for.
        axes: the orientation and the order of the axes that it saw.
    """

    folder: Path
    file: Path
    digest: str
    dataset: str
    configuration: Configuration
    fold: int | str
    inputs: tuple[str, ...]
    labels: LabelScheme
    axes: str


def open_start(source: str | Path, configuration: Configuration, fold: int | str | None = None) -> Start:
    """The weights to begin with.

    Args:
        source: the folder of a model (an imported one too), of a workspace with a model, or of a run
            (``W/runs/C/fold_F``), whose newest checkpoint is taken.
        configuration: that will be trained; a model's network of the same name is preferred, else one with as many
            dimensions.
        fold: that will be trained; the model's network of the same fold is preferred, so that the cases that are
            validated on stay unseen where both data sets are one; else the one of all cases, else its first.
    Returns:
        the start; a run gives its averaged weights.
    Raises:
        ModelError: there is neither model nor run, or it is damaged.
    """
    folder = Path(source)
    if (run := _find_run(folder)) is not None:
        return _open_run(run)
    model = _open_model(folder)
    plan = plan_of_model(model)
    name = _choose_configuration(plan, configuration)
    folds = _folds_of(model, name)
    chosen = next(each for each in (fold, "all", folds[0]) if each is not None and each in folds)
    return Start(
        folder=model.folder,
        file=weights_path(model.folder, name, chosen),
        digest=f"{model.digest} {name} fold {chosen}",
        dataset=plan.dataset,
        configuration=plan.configuration(name),
        fold=chosen,
        inputs=name_inputs(plan, plan.configuration(name)),
        labels=plan.labels,
        axes=describe_axes(plan),
    )


def open_template(source: str | Path) -> Template:
    """The plan to follow where a model is to be fine-tuned.

    Args:
        source: as for ``open_start``.
    Returns:
        the plan with the configurations alone that there are networks of.
    Raises:
        ModelError: there is neither model nor run, or it is damaged.
    """
    if (run := _find_run(Path(source))) is not None:
        plan, configuration = _read_run_plan(run)
        alone = plan.model_copy(update={"configurations": {configuration.name: configuration}})
        return Template(alone, _open_run(run).digest)
    model = _open_model(Path(source))
    return Template(plan_of_model(model), model.digest)


def _find_run(folder: Path) -> Path | None:
    """The run's folder, where this is one or its ``checkpoints``; None elsewhere."""
    run = folder.parent if folder.name == "checkpoints" else folder
    return run if list_checkpoints(run / "checkpoints") else None


def _open_model(folder: Path) -> Model:
    if not (folder / RECORD).is_file():
        if (folder / "model" / RECORD).is_file():
            return open_model(folder / "model")
        if (folder / "plans.json").is_file():
            raise ModelError(
                "it is nnU-Net's model", code="not_imported", file=folder,
                remedy=f"Run medseg import-nnunet {folder} OUTPUT and give OUTPUT",
            )  # fmt: skip
    return open_model(folder)


def plan_of_model(model: Model) -> Plan:
    """The plan of a model with the configurations alone that it has networks of, each with the stage before it."""
    found: dict[str, Configuration] = {}
    for member in model.record.members:
        if member.previous is not None:
            found[member.previous] = model.plan.configuration(member.previous)
        configuration = model.plan.configuration(member.configuration)
        found[member.configuration] = configuration.model_copy(update={"previous": member.previous})
    return model.plan.model_copy(update={"configurations": found})


def name_inputs(plan: Plan, configuration: Configuration) -> tuple[str, ...]:
    """What each input channel of a network is.

    Args:
        plan: channels and labels.
        configuration: with the masks of the stage before it in a cascade.
    Returns:
        the image's channels, then ``mask of NAME`` for each label value of that stage.
    """
    if configuration.previous is None:
        return plan.channels
    classes = {values[0]: name for name, values in plan.labels.labels.items() if len(values) == 1}
    return (*plan.channels, *(f"{MASK}{classes.get(value, value)}" for value in plan.labels.foreground))


def describe_axes(plan: Plan) -> str:
    """The directions of the network's axes, or the file axes where scans are not turned: ``SPL``, ``kji``."""
    return plan.orientation or "".join("ijk"[axis] for axis in plan.axis_order)


def read_start(start: Start) -> dict[str, Tensor]:
    """The weights of a start by name; raises ModelError where they cannot be read or are not finite."""
    try:
        tensors = load_file(start.file)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the weights cannot be read: {error}", file=start.file) from None
    if start.file.name == STATE:
        tensors = {key.removeprefix(AVERAGE): value for key, value in tensors.items() if key.startswith(AVERAGE)}
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ModelError(f"{bad[0]} holds numbers that are not finite", file=start.file)
    return tensors


def _choose_configuration(plan: Plan, wanted: Configuration) -> str:
    if wanted.name in plan.configurations:
        return wanted.name
    names = list(plan.configurations)
    alike = [name for name in names if plan.configurations[name].dimensions == wanted.dimensions]
    return (alike or names)[0]


def _folds_of(model: Model, name: str) -> Sequence[int | str]:
    for member in model.record.members:
        if name == member.configuration:
            return member.folds
        if name == member.previous:
            return member.previous_folds
    raise AssertionError(name)  # the plan of a model holds its members' configurations alone


def _open_run(run: Path) -> Start:
    """The newest checkpoint of ``W/runs/C/fold_F``; channels and labels stand in the workspace's plan."""
    checkpoint = load_checkpoint(run / "checkpoints")
    if checkpoint is None:
        raise ModelError("every checkpoint is damaged", file=run, remedy="Give another run or a model")
    plan, configuration = _read_run_plan(run)
    fold = run.resolve().name.removeprefix("fold_")
    digest = checkpoint.facts["files"][STATE]
    paths = reversed(list_checkpoints(run / "checkpoints"))
    newest = next(path for path in paths if hash_file(path / STATE) == digest)
    return Start(
        folder=run,
        file=newest / STATE,
        digest=digest,
        dataset=plan.dataset,
        configuration=configuration,
        fold=int(fold) if fold.isdigit() else fold,
        inputs=name_inputs(plan, configuration),
        labels=plan.labels,
        axes=describe_axes(plan),
    )


def _read_run_plan(run: Path) -> tuple[Plan, Configuration]:
    resolved = run.resolve()
    try:
        plan, trained = read_plan(Workspace(resolved.parents[2])), resolved / "configuration.json"
        planned = plan.configuration(resolved.parent.name)
        return plan, Configuration.read(trained) if trained.is_file() else planned
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"what its channels and labels are is not known: {error}", code="no_plan", file=run,
            remedy="Give a run in its workspace, WORKSPACE/runs/CONFIGURATION/fold_0, or a model",
        ) from None  # fmt: skip
