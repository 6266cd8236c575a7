"""The steps from a folder of scans to a tumour report, in order: one function a command.

Each opens files, calls a stage, and writes files; stages are imported inside the functions, so that no step pays for
what another needs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from medseg.core.dataset import read_dataset
from medseg.core.errors import PlanError
from medseg.core.manifest import StepResult, name_time
from medseg.core.workspace import Workspace, locks_workspace


def check(dataset: str | Path, **named: Any) -> StepResult:
    """List every problem of every case, in one pass; of a folder of DICOM files, its series.

    Args:
        dataset: any layout of a data set, or a scanner's or archive's folder.
        named: options of ``open_dataset``, ``keep_equal_scans`` of ``inspect_dataset``; what nothing names is inferred.
    Returns:
        an outcome per case and problem.
    Raises:
        DatasetError: the layout is unknown, or channels or labels cannot be told.
    """
    from medseg.fingerprint import describe_inspection, inspect_path
    from medseg.io.dicom.listing import list_dicom

    if (listed := list_dicom(dataset)) is not None:
        return listed
    inspection = inspect_path(dataset, **named)
    found = inspection.dataset
    content = {"layout": found.layout, "cases": len(found.cases), "notes": list(found.notes)}
    return StepResult(list(inspection.outcomes), describe_inspection(inspection), content)


@locks_workspace("medseg fingerprint")
def fingerprint(dataset: str | Path, workspace: str | Path, **named: Any) -> StepResult:
    """Measure what the data set looks like: ``W/fingerprint.json``.

    Args:
        dataset: any layout of a data set.
        workspace: the folder to work in.
        named: ``channels``, ``labels``, ``spacing_mm``, ``nonfinite``, ``keep_equal_scans`` of ``check``.
    Returns:
        an outcome per case; refused cases are left out of the fingerprint.
    Raises:
        DatasetError: no case can be used.
    """
    from medseg.fingerprint import inspect_path, write_fingerprint

    space = Workspace(Path(workspace))
    inspection = inspect_path(dataset, **named)
    made = write_fingerprint(space, inspection)
    text = f"{space.fingerprint}: {len(made.cases)} cases, {', '.join(made.channels)}"
    return StepResult(list(inspection.outcomes), "\n".join([text, *made.notes]), {"cases": len(made.cases)})


@locks_workspace("medseg plan")
def plan(
    dataset: str | Path | None = None,
    workspace: str | Path | None = None,
    *,
    preset: str = "nnunet",
    like: str | Path | None = None,
    gpu_memory_gb: float | None = None,
    target_spacing_mm: Sequence[float] | Literal["isotropic"] | None = None,
    window_hu: Sequence[float] | None = None,
    folds_file: str | Path | None = None,
    divide_patients: bool = False,
    explain: bool = False,
    nnunet_files: tuple[Path, Path, Path] | None = None,
    as_nnunet: bool = False,
    **named: Any,
) -> StepResult:
    """Decide preprocessing, networks and folds: ``W/plan.json``, ``W/folds.json``.

    Args:
        dataset: any layout of a data set.
        workspace: the folder to work in; a missing fingerprint is made.
        preset: whose rules to follow.
        like: a model (or a run's folder) to fine-tune, to take network, spacing and patch from.
        gpu_memory_gb: what training may use on a GPU; the preset's own where None.
        target_spacing_mm: one, three (i, j, k) or ``isotropic``; also ``spacing_mm`` where the files know their own.
        window_hu: lowest and highest HU of CT, in place of the planner's choice.
        folds_file: given folds (``splits_final.json``); those that somebody put in ``W/folds.json`` stay where None.
        divide_patients: let given folds put scans of one patient into training and validation.
        explain: give the reason of each choice.
        nnunet_files: in place of a data set: nnU-Net's fingerprint and dataset.json, and the file to write.
        as_nnunet: write that file in nnU-Net's own layout.
        named: ``channels``, ``labels``, ``spacing_mm``, ``nonfinite``, ``keep_equal_scans`` of ``check``.
    Returns:
        the outcomes of the fingerprint, and the plan in words.
    Raises:
        PlanError: a preset or number that cannot work, or neither a data set with a workspace nor nnU-Net's files.
    """
    from medseg.planning import check_request, explain_plan, read_target, take_folds, write_plan, write_plan_from_nnunet

    check_request(preset, gpu_memory_gb, target_spacing_mm, window_hu, followed=like is not None)
    request: Any = {"preset": preset, "gpu_memory_gb": gpu_memory_gb, "window_hu": window_hu}
    if nnunet_files is not None and like is None:
        request["spacing_mm"] = target_spacing_mm or named.get("spacing_mm")
        content = write_plan_from_nnunet(*nnunet_files, as_nnunet=as_nnunet, **request)
        return StepResult([], f"{nnunet_files[2]}: {', '.join(content['configurations'])}", content)
    if dataset is None or workspace is None:
        raise PlanError("nothing to plan for", remedy="Give DATASET and --workspace, or nnU-Net's files")
    if like is not None:
        from medseg.training.fine_tuning.starts import open_template

        request["template"] = open_template(like)
    outcomes, space = fingerprint(dataset, workspace, **named).outcomes, Workspace(Path(workspace))
    if folds_file is not None:
        request["folds"] = take_folds(space, folds_file, outcomes, divide_patients=divide_patients)
    target_spacing_mm = target_spacing_mm or read_target(space, named.get("spacing_mm"))
    made = write_plan(space, spacing_mm=target_spacing_mm, **request)
    text = explain_plan(made)
    return StepResult(outcomes, text if explain else text.partition("\n")[0], made.model_dump(mode="json"))


@locks_workspace("medseg preprocess")
def preprocess(
    workspace: str | Path,
    *,
    dataset: str | Path | None = None,
    configurations: Sequence[str] | None = None,
    exact_store: bool = False,
) -> StepResult:
    """Bring every case to what the network sees: ``W/prepared/C/``; only what changed is done again.

    Args:
        workspace: with a plan.
        dataset: where the data set is now; where it was when it was fingerprinted, if None.
        configurations: whose cases to prepare; all of the plan's where None.
        exact_store: keep resampled images in float32, not float16.
    Returns:
        an outcome per case and configuration.
    Raises:
        PlanError: the workspace has no plan.
    """
    from medseg.preprocessing.cases import prepare_workspace

    space = Workspace(Path(workspace))
    outcomes = prepare_workspace(space, configurations, dataset=dataset, exact_store=exact_store)
    done, skipped = (sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped"))
    text = f"{space.root / 'prepared'}: {done} prepared, {skipped} unchanged, {len(outcomes) - done - skipped} refused"
    return StepResult(outcomes, text, {"done": done, "skipped": skipped})


def train(
    workspace: str | Path,
    *,
    configuration: str,
    fold: int | str,
    budget_s: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    restart: bool = False,
    settings: Mapping[str, str] | None = None,
    **objects: Any,
) -> StepResult:
    """Train one fold, then predict and score its validation cases: ``W/runs/C/fold_F/``; in a cascade, the first
    stage's folds before it.

    Args:
        workspace: with prepared cases.
        configuration: of the plan.
        fold: its number, or ``all`` for every case and no validation.
        budget_s: wall-clock for training; ``epochs`` where None.
        epochs: how many; the plan's where both are None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        restart: begin anew even where a compatible run stands.
        settings: other values for keys of the plan's configuration: ``{"learning_rate": "0.001"}``.
        objects: ``plugins``, ``start_from``, ``loss``, ``network``, ``augmentations``, ``callbacks`` of ``run_fold``.
    Returns:
        an outcome per validation case, and their scores in words.
    Raises:
        PlanError: an unknown configuration, fold or setting, or a run made with other settings.
    """
    from medseg.reporting import format_score_table
    from medseg.training.stages import train_stages

    space = Workspace(Path(workspace))
    outcomes, scores = train_stages(
        space, read_dataset(space.cases), configuration, fold, seconds=budget_s, epochs=epochs, device=device,
        restart=restart, settings=settings or {}, **objects,
    )  # fmt: skip
    return StepResult(outcomes, format_score_table(scores), {"folder": str(space.run(configuration, fold))})


@locks_workspace("medseg choose", beside_training=True)
def choose(workspace: str | Path, *, configurations: Sequence[str] | None = None) -> StepResult:
    """Choose the best configuration and its postprocessing: ``W/choice.json``, ``W/model/``.

    Args:
        workspace: with trained folds.
        configurations: among which; all that were trained where None.
    Returns:
        no outcomes; the choice in words.
    Raises:
        ModelError: nothing is trained yet.
    """
    from medseg.training.models import build_model

    space = Workspace(Path(workspace))
    choice = build_model(space, read_dataset(space.cases), configurations)
    lines = [f"{space.model}: {choice.reason}", *choice.postprocessing.values(), *choice.volume_errors.values()]
    return StepResult([], "\n".join(lines), choice.model_dump(mode="json"))


def predict(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path | Sequence[str | Path],
    folds: Sequence[int | str] | None = None,
    device: str = "auto",
    engine: str = "torch",
    precision: Literal["exact", "bf16"] = "exact",
    overlap: float = 0.5,
    mirroring: bool = True,
    network: Any = None,
    **options: Any,
) -> StepResult:
    """Segment every scan of a folder: ``OUTPUT/CASE.nii.gz`` on the scans' own grids.

    Args:
        source: a scan, a folder of scans, a data set, or a tree of DICOM files.
        output: the folder for masks and ``run.json``.
        model: the model's folder; several are averaged.
        folds, device, engine, precision, overlap, mirroring, network: as for ``Predictor.load``.
        options: ``tilt``, ``gaps``, ``register``, ``rules``, ``contours``, ``seg_type``, ``follow``,
            ``with_identity`` of ``predict_source``; ``spacing_mm``, ``nonfinite``, ``file_format``,
            ``save_probabilities``, ``part``, ``max_ram_gb``, ``max_vram_gb`` of ``predict_cases``.
    Returns:
        an outcome per case; one bad case never stops the others, finished ones are not done again.
    Raises:
        ModelError: the model cannot be used.
        DatasetError: there is no scan at all.
    """
    from medseg.inference import Predictor
    from medseg.inference.folders.source import predict_source

    predictor = Predictor.load(
        model, folds=folds, device=device, engine=engine, precision=precision, overlap=overlap, mirroring=mirroring,
        network=network,
    )  # fmt: skip
    outcomes = predict_source(predictor, source, Path(output), **options)
    done = sum(outcome.status in ("done", "skipped") for outcome in outcomes)
    return StepResult(outcomes, f"{output}: {done} of {len(outcomes)} masks", {"output": str(output)})


def evaluate(
    predictions: str | Path, references: str | Path, output: str | Path, *, require: Sequence[str] = (), **scoring: Any
) -> StepResult:
    """Score masks against references: ``scores.csv``, ``scores.json``, ``summary.json``.

    Args:
        predictions, references: folders of masks with the same case names, or of DICOM SEG and RTSTRUCT.
        output: the folder for the tables.
        require: scores that have to be reached, such as ``tumour.lesion_recall[<1ml]>=0.8``.
        scoring: ``labels``, ``tolerance_mm``, ``definition``, ``matching``, ``rules``, ``probabilities``, ``dicom`` of
            ``evaluation.folders.evaluate_folders``.
    Returns:
        an outcome per case: a prediction without a reference, and the other way round, is named.
    Raises:
        DatasetError: there is no pair at all.
    """
    from medseg.evaluation.folders import evaluate_folders
    from medseg.evaluation.requirements import check_requirements
    from medseg.reporting import format_score_table

    outcomes, scores = evaluate_folders(predictions, references, output, require=require, **scoring)
    lines, content, missed = check_requirements(require, scores)
    text = "\n".join([format_score_table(scores), *lines])
    return StepResult(outcomes, text, {"output": str(output), "scores": len(scores), **content}, missed)


def compare(
    directories: Sequence[str | Path], output: str | Path, *, margins: Mapping[str, float] | None = None
) -> StepResult:
    """Compare the scores of methods on the same patients: ``comparison.csv``, ``.json``, ``.tex`` and ``.png``.

    Args:
        directories: two or more folders with ``scores.csv`` or with folds or seeds; the established method's first.
        output: the folder for the tables and the figure.
        margins: metric to how much worse a method may be and still count as not inferior to one before it.
    Returns:
        an outcome per case: one that only some methods have scores of is named and left out.
    Raises:
        DatasetError: fewer than two folders, no case in common, or scores defined in different ways.
    """
    from medseg.evaluation.comparison import compare_folders
    from medseg.reporting.comparison import report_comparison

    outcomes, found = compare_folders(directories, output, margins=margins)
    text = report_comparison(output, found)
    return StepResult(outcomes, text, {key: value for key, value in found.items() if key != "values"})


def measure(masks: str | Path | None, output: str | Path, **options: Any) -> StepResult:
    """Measure masks: volumes, diameters, lesions: ``measurements.csv``; of a timeline ``longitudinal.csv``; JSON twins.

    Args:
        masks: a folder of masks; None where a timeline names them.
        output: the folder for the tables.
        options: ``images``, ``labels``, ``channels``, ``probabilities``, ``nonfinite`` and ``dicom`` of
            ``measure_folder``; ``timeline``, ``targets``, ``registration`` of ``measure_timeline``.
    Returns:
        an outcome per case.
    Raises:
        DatasetError: there is no mask.
    """
    from medseg.measurement.longitudinal import measure_scans
    from medseg.reporting import format_volume_table

    outcomes, rows, changes = measure_scans(masks, output, **options)
    text = "\n\n".join(filter(None, (format_volume_table(rows), changes)))
    return StepResult(outcomes, text, {"output": str(output), "rows": len(rows)})


def report(directory: str | Path, **drawn: str | Path | None) -> StepResult:
    """Write one self-contained page about a folder of results: ``DIR/report.html``.

    Args:
        directory: a workspace, or an output folder of ``predict``, ``evaluate`` or ``measure``.
        drawn: ``images``, ``references`` and ``labels`` (``rois.json`` of DICOM references) of ``report_folder``.
    Returns:
        an outcome per case that was drawn.
    Raises:
        DatasetError: the folder holds no result.
    """
    from medseg.reporting.folders import report_folder

    outcomes, path = report_folder(Path(directory), **drawn)
    return StepResult(outcomes, str(path), {"report": str(path)})


@locks_workspace("medseg run")
def run(
    dataset: str | Path,
    workspace: str | Path,
    *,
    budget_s: float | None = None,
    epochs: int | None = None,
    folds: str | None = None,
    configurations: Sequence[str] | None = None,
    device: str = "auto",
    settings: Mapping[str, str] | None = None,
    start_from: str | Path | None = None,
    plugins: Sequence[str] = (),
    **named: Any,
) -> StepResult:
    """Everything: from a folder of scans with masks to a model, scores, volumes and a report.

    Args:
        dataset: any layout of a data set.
        workspace: the folder to work in.
        budget_s: wall-clock of the whole command; None for ``epochs``.
        epochs: how many a fold; the plan's where both are None.
        folds: ``0``, ``0,1``, ``each`` or ``all``; ``0`` with a budget, ``each`` without, where None.
        configurations: of the plan; with a budget the 3D one where there is one, else all, where None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        settings: other values for keys of the plan's configurations: ``{"sampling": "lesion"}``.
        start_from: a model or run to fine-tune, whose plan is then followed.
        plugins: modules to import, with networks or losses that ``settings`` name.
        named: ``channels``, ``labels``, ``spacing_mm``, ``nonfinite``, ``keep_equal_scans`` of ``check``.
    Returns:
        the outcomes of all steps; the table of scores and volumes, and the report's path.
    Raises:
        DatasetError: no case can be used.
        PlanError: a fold or configuration that is not there, or a budget too short to train at all.
    """
    from medseg.planning import ensure_plan
    from medseg.training.run_order import announce_jobs, check_request, choose_jobs, train_jobs
    from medseg.training.whole_runs import predict_own, report_own

    began, started, space = time.monotonic(), name_time(), Workspace(Path(workspace))
    rules = check_request(folds, settings or {}, plugins, device, start_from)  # before minutes of reading scans
    outcomes = fingerprint(dataset, workspace, **named).outcomes
    made, found = ensure_plan(space, *rules), read_dataset(space.cases)
    jobs = choose_jobs(space, configurations, folds, timed=budget_s is not None)
    names = announce_jobs(made, jobs)
    outcomes += preprocess(workspace, configurations=names).outcomes
    left = None if budget_s is None else budget_s - (time.monotonic() - began)
    outcomes += train_jobs(
        space, found, jobs, budget_s=left, epochs=epochs, device=device, settings=settings, start_from=start_from,
        plugins=plugins,
    )  # fmt: skip
    choice = choose(workspace, configurations=configurations or names).content
    outcomes += predict_own(space, found, device=device)
    notes = [choice["reason"], *choice["postprocessing"].values(), *choice["volume_errors"].values()]
    return report_own(space, found, outcomes, notes, started)
