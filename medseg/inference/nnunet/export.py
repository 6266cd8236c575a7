"""A medseg model as a folder that nnU-Net 2.8.1 predicts with."""

from __future__ import annotations

import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from medseg.core.errors import ModelError
from medseg.core.model import Member, Rule
from medseg.core.plan import Plan
from medseg.core.records import write_json
from medseg.inference.model_folder import Model, weights_path
from medseg.inference.nnunet.export_checkpoint import (
    CHECKPOINT,
    TRAINER,
    mirrored_axes,
    translate_back,
    write_checkpoint,
)
from medseg.inference.nnunet.export_labels import ignore_value
from medseg.inference.nnunet.export_plans import (
    PICTURE_READER,
    PLANS_NAME,
    choose_view,
    make_dataset_json,
    make_plans,
    takes_own_spacing,
)
from medseg.inference.stages import list_stages

DATASET_NAME = re.compile(r"Dataset\d{3}_\w+")


def export_nnunet(model: Model, output: Path) -> None:
    """Write a model as nnU-Net keeps a data set's trained models.

    Args:
        model: an opened model.
        output: the folder; each configuration gets a folder in it, ``nnUNetTrainer__nnUNetPlans__CONFIGURATION`` with
            ``plans.json``, ``dataset.json`` and ``fold_F/checkpoint_final.pth``. Called ``DatasetNNN_Name`` in
            nnU-Net's results folder it is what ``nnUNetv2_predict -d NNN`` looks for.
    Raises:
        ModelError, PlanError: nnU-Net cannot express labels, network, a fold, or normalisations that differ between
            configurations.
        OSError: the disk is full or the folder cannot be written.
    """
    stages = _check_stages(model)
    plans = make_plans(
        model.plan, [(stage.configuration, stage.previous) for stage in stages], name_dataset(model.plan, output)
    )
    dataset_json = make_dataset_json(model.plan, model.plan.configuration(stages[0].configuration).normalisation)
    for stage in stages:
        folder = output / name_folder(stage.configuration)
        configuration = model.plan.configuration(stage.configuration)
        write_json(folder / "plans.json", plans)
        write_json(folder / "dataset.json", dataset_json)
        for fold in stage.folds:
            path = weights_path(model.folder, stage.configuration, fold)
            try:
                weights = load_file(path)
            except (OSError, SafetensorError) as error:
                raise ModelError(f"the weights cannot be read: {error}", file=path) from None
            write_checkpoint(
                folder / f"fold_{fold}" / CHECKPOINT,
                translate_back(weights, configuration, model.plan.labels),
                configuration=configuration,
                fold=fold,
                axes=mirrored_axes(configuration, _list_flips(model, stage)),
                plans=plans,
                dataset_json=dataset_json,
            )


def name_folder(configuration: str) -> str:
    """The folder of a configuration's networks."""
    return f"{TRAINER}__{PLANS_NAME}__{configuration}"


def name_dataset(plan: Plan, output: Path) -> str:
    """nnU-Net's name of the data set: the folder's or the plan's where it is of its kind, else the plan's anyway."""
    named = [name for name in (output.name, plan.dataset) if DATASET_NAME.fullmatch(name)]
    return (*named, plan.dataset)[0]


def explain_differences(model: Model) -> list[str]:
    """Why nnU-Net's masks may differ from medseg's, a sentence per reason.

    Args:
        model: an opened model that can be exported.
    Returns:
        empty where every scan gets the same mask.
    """
    plan, view = model.plan, choose_view(model.plan)
    configurations = [plan.configuration(stage.configuration) for stage in list_stages(model)]
    notes = []
    if view.only is not None:
        notes.append(
            f"nnU-Net takes scans as they lie, medseg turns them: only scans whose axes i, j, k run to {view.only} get "
            "the same masks; turn others to it first."
        )
    floors = [entry.logit_floor for entry in configurations if entry.logit_floor is not None]
    if floors:
        notes.append(
            f"Where a scan is resampled, medseg first bounds how sure the network may be (logit_floor {floors[0]:g}) "
            "and nnU-Net does not: borders may lie a part of a voxel apart, and small lesions come out smaller."
        )
    if model.record.postprocessing:
        rules = "; ".join(map(_describe_rule, model.record.postprocessing))
        notes.append(f"medseg's postprocessing is not carried over; apply it to nnU-Net's masks: {rules}.")
    spacings = {entry.spacing_mm[1:] for entry in configurations}
    if takes_own_spacing(plan) and spacings != {(1.0, 1.0)}:
        notes.append("nnU-Net takes every pixel as 1 mm: only pictures at the plan's spacing get the same masks.")
    return notes


def explain_use(model: Model, output: Path) -> list[str]:
    """How to predict with an exported model, a line each.

    Args:
        model: the model.
        output: where it was exported to.
    Returns:
        what nnU-Net expects of the files, then its commands; never empty.
    """
    view = choose_view(model.plan)
    several = len(model.record.members) > 1
    names = f"CASE_0000{view.file_ending}, CASE_0001{view.file_ending}, ..., a file per channel"
    if view.reader == PICTURE_READER:
        names = f"CASE_0000{view.file_ending}, colours in one file"
    lines = [f"Scans: {names}; nnU-Net reads them with {view.reader}."]
    for stage in list_stages(model):
        folds = " ".join(map(str, stage.default_folds))
        command = f"nnUNetv2_predict_from_modelfolder -i SCANS -o MASKS_{stage.configuration}"
        command += f" -m {output / name_folder(stage.configuration)} -f {folds}"
        command += f" -prev_stage_predictions MASKS_{stage.previous}" if stage.previous else ""
        lines.append(command + (" --save_probabilities" if several else ""))
    if several:
        masks = " ".join(f"MASKS_{member.configuration}" for member in model.record.members)
        lines.append(f"nnUNetv2_ensemble -i {masks} -o MASKS")
    if model.plan.labels.ignore not in (None, ignore_value(model.plan.labels)):
        lines.append(
            f"dataset.json gives the ignore label the value {ignore_value(model.plan.labels)} instead of "
            f"{model.plan.labels.ignore}, as nnU-Net demands; no mask holds it."
        )
    return lines


def _list_flips(model: Model, stage: Member) -> tuple[int, ...]:
    """The axes that prediction flips: the model's, and for the first stage of a cascade those of its own training."""
    own = stage not in model.record.members
    return model.plan.configuration(stage.configuration).training.prediction_axes if own else model.record.mirror_axes


def _check_stages(model: Model) -> list[Member]:
    """The model's stages; refused where nnU-Net keeps once for all what they have each."""
    stages = list_stages(model)
    odd = [fold for stage in stages for fold in stage.folds if not isinstance(fold, int) and fold != "all"]
    if odd:
        raise _unfit(f"the fold {odd[0]!r}")
    if len({model.plan.configuration(stage.configuration).normalisation for stage in stages}) > 1:
        raise _unfit("configurations with different normalisations")
    return stages


def _describe_rule(rule: Rule) -> str:
    largest = "largest component" if rule.keep_largest else ""
    size = f"no component under {rule.minimum_ml:g} ml" if rule.minimum_ml else ""
    return f"{rule.label}: {' and '.join(part for part in (largest, size) if part)}"


def _unfit(reason: str) -> ModelError:
    return ModelError(f"nnU-Net cannot express {reason}", code="not_expressible", remedy="Export a model without it")
