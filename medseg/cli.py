"""The command line: words to arguments, results to standard output, errors to one line; no logic.

The pipeline is imported inside each command, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.options.process import catch_errors, finish, prepare_process, refuse_torchrun, run_app
from medseg.options.values import (
    gather_names,
    gather_settings,
    join_files,
    parse_folds,
    parse_numbers,
    parse_part,
    parse_seconds,
    parse_target,
)
from medseg.options.words import (
    Budget,
    Channels,
    Contours,
    ContoursBy,
    Data,
    Device,
    Engine,
    Epochs,
    FoldsFile,
    Followed,
    Gaps,
    GapsBy,
    Json,
    KeepEqual,
    Labels,
    Like,
    Nonfinite,
    NonfiniteBy,
    Plugins,
    Precision,
    Register,
    RegisterBy,
    SampleBy,
    SegType,
    SegTypeBy,
    SeriesRules,
    Settings,
    Space,
    SpacingMm,
    StartFrom,
    StatedSpacing,
    TargetSpacing,
    Tilt,
    TiltedBy,
    Version,
)
from medseg.result_commands import add_results
from medseg.tool_commands import add_tools

app = typer.Typer(
    name="medseg",
    help="Self-configuring segmentation of medical images: from a folder of scans to a tumour report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(context: typer.Context, version: Version = False) -> None:
    """Self-configuring segmentation of medical images: from a folder of scans to a tumour report."""
    refuse_torchrun(context.invoked_subcommand)


@app.command()
def check(
    dataset: Data,
    channels: Channels = None,
    labels: Labels = None,
    spacing_mm: SpacingMm = None,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    keep_equal: KeepEqual = False,
    json: Json = False,
) -> None:
    """List every problem of every case, in one pass."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.check(dataset, **gather_names(channels, labels, spacing_mm, nonfinite, keep_equal))
    finish(result, json)


@app.command()
def fingerprint(
    dataset: Data,
    workspace: Space,
    channels: Channels = None,
    labels: Labels = None,
    spacing_mm: SpacingMm = None,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    keep_equal: KeepEqual = False,
    json: Json = False,
) -> None:
    """Measure what the data set looks like."""
    with catch_errors():
        from medseg import pipeline

        named = gather_names(channels, labels, spacing_mm, nonfinite, keep_equal)
        result = pipeline.fingerprint(dataset, workspace, **named)
    finish(result, json)


@app.command()
def plan(
    dataset: Annotated[Path | None, typer.Argument(metavar="[DATASET]", help="Images with masks.")] = None,
    workspace: Annotated[Path | None, typer.Option("--workspace", help="Folder to work in.")] = None,
    preset: Annotated[str, typer.Option(help="nnunet, resenc-m, resenc-l, resenc-xl, or cpu.")] = "nnunet",
    like: Like = None,
    gpu_memory_gb: Annotated[float | None, typer.Option(help="What training may use; the preset's, else.")] = None,
    target_spacing_mm: TargetSpacing = None,
    window_hu: Annotated[tuple[float, float] | None, typer.Option(help="Lowest and highest HU of CT.")] = None,
    folds_file: FoldsFile = None,
    divide_patients: Annotated[
        bool, typer.Option("--divide-patients", help="Let those folds train and validate on one patient's scans.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Give the reason of each choice.")] = False,
    fingerprint: Annotated[Path | None, typer.Option(help="nnU-Net's, in place of DATASET.")] = None,
    dataset_json: Annotated[Path | None, typer.Option(help="nnU-Net's, with --fingerprint.")] = None,
    output: Annotated[Path | None, typer.Option(help="The file to write, with --fingerprint.")] = None,
    as_nnunet: Annotated[bool, typer.Option("--as-nnunet", help="Write it as nnU-Net does.")] = False,
    channels: Channels = None,
    labels: Labels = None,
    spacing_mm: StatedSpacing = None,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    keep_equal: KeepEqual = False,
    json: Json = False,
) -> None:
    """Decide preprocessing, networks and folds, with reasons."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.plan(
            dataset,
            workspace,
            preset=preset,
            like=like,
            gpu_memory_gb=gpu_memory_gb,
            target_spacing_mm=parse_target(target_spacing_mm, spacing_mm),
            window_hu=window_hu,
            folds_file=folds_file,
            divide_patients=divide_patients,
            explain=explain,
            nnunet_files=join_files(fingerprint, dataset_json, output),
            as_nnunet=as_nnunet,
            **gather_names(channels, labels, None if spacing_mm == "isotropic" else spacing_mm, nonfinite, keep_equal),
        )
    finish(result, json)


@app.command()
def preprocess(
    workspace: Space,
    dataset: Annotated[
        Path | None, typer.Argument(metavar="[DATASET]", help="Where the data set is, if it was moved since.")
    ] = None,
    configuration: Annotated[str | None, typer.Option(help="One of the plan's; all where not given.")] = None,
    exact_store: Annotated[bool, typer.Option("--exact-store", help="Keep float32 where float16 would do.")] = False,
    json: Json = False,
) -> None:
    """Bring every case to what the network sees, where it changed."""
    with catch_errors():
        from medseg import pipeline

        configurations = [configuration] if configuration else None
        result = pipeline.preprocess(workspace, dataset=dataset, configurations=configurations, exact_store=exact_store)
    finish(result, json)


@app.command()
def train(
    workspace: Space,
    configuration: Annotated[str, typer.Option(help="One of the plan's, such as 3d_fullres.", show_default=False)],
    fold: Annotated[str, typer.Option(help="Its number, or all.")] = "0",
    budget: Budget = None,
    epochs: Epochs = None,
    device: Device = "auto",
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew; otherwise a run goes on.")] = False,
    start_from: StartFrom = None,
    sampling: SampleBy = None,
    set_: Settings = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Train one fold, then predict and score its validation cases."""
    with catch_errors(plugin):
        from medseg import pipeline

        result = pipeline.train(
            workspace,
            configuration=configuration,
            fold=int(fold) if fold.isdigit() else fold,
            budget_s=parse_seconds(budget, epochs),
            epochs=epochs,
            device=device,
            restart=restart,
            start_from=start_from,
            settings=gather_settings(set_, sampling),
            plugins=plugin or (),
        )
    finish(result, json)


@app.command()
def choose(workspace: Space, plugin: Plugins = None, json: Json = False) -> None:
    """Choose the best configuration and write the model."""
    with catch_errors(plugin):
        from medseg import pipeline

        result = pipeline.choose(workspace)
    finish(result, json)


@app.command()
def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", envvar="MERCURE_IN_DIR", help="A scan, a folder of scans or DICOM, a data set."
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", envvar="MERCURE_OUT_DIR", help="Folder for the masks.")],
    model: Annotated[list[Path], typer.Option(help="A model's folder; several are averaged.", show_default=False)],
    folds: Annotated[str | None, typer.Option(help="Which networks to average: 0,1; all where not given.")] = None,
    device: Device = "auto",
    engine: Annotated[
        Engine, typer.Option(help="What computes the networks; auto takes the fastest there is.")
    ] = Engine.torch,
    precision: Annotated[Precision, typer.Option(help="exact (float32) or bf16 (faster).")] = Precision.exact,
    overlap: Annotated[float, typer.Option(help="Share of a window that neighbours share.")] = 0.5,
    no_mirroring: Annotated[bool, typer.Option("--no-mirroring", help="Do not average over flips.")] = False,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="nifti, mha, nrrd; of DICOM also dicom-seg, rtstruct, sr, key-pictures; or several: nifti,sr.",
        ),
    ] = "nifti",
    contours: ContoursBy = Contours.exact,
    seg_type: SegTypeBy = SegType.binary,
    follow: Followed = None,
    with_identity: Annotated[
        bool, typer.Option("--with-identity", help="Name files of DICOM after patient, study and series.")
    ] = False,
    save_probabilities: Annotated[bool, typer.Option("--save-probabilities", help="Write those too.")] = False,
    part: Annotated[str | None, typer.Option(help="1/4: the first of four shares of the folder.")] = None,
    max_ram_gb: Annotated[float | None, typer.Option(help="Memory to keep to.")] = None,
    max_vram_gb: Annotated[float | None, typer.Option(help="GPU memory to keep to.")] = None,
    spacing_mm: SpacingMm = None,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    tilt: TiltedBy = Tilt.refuse,
    gaps: GapsBy = Gaps.refuse,
    register: RegisterBy = Register.refuse,
    channels: SeriesRules = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Segment every scan of a folder."""
    with catch_errors(plugin):
        from medseg import pipeline

        result = pipeline.predict(
            source, output, model=model, folds=parse_folds(folds), device=device, engine=engine.value,
            precision=precision.value, overlap=overlap, mirroring=not no_mirroring, nonfinite=nonfinite.value,
            spacing_mm=parse_numbers(spacing_mm), file_format=format_, contours=contours.value,
            seg_type=seg_type.value, follow=follow, with_identity=with_identity, save_probabilities=save_probabilities,
            part=parse_part(part), max_ram_gb=max_ram_gb, max_vram_gb=max_vram_gb, tilt=tilt.value, gaps=gaps.value,
            register=register.value, rules=channels,
        )  # fmt: skip
    finish(result, json)


add_results(app)


@app.command()
def run(
    dataset: Data,
    workspace: Space,
    budget: Budget = None,
    epochs: Epochs = None,
    folds: Annotated[
        str | None, typer.Option(help="0 or 0,1 or each or all; 0 with a budget, each without, where not given.")
    ] = None,
    configurations: Annotated[str | None, typer.Option(help="Of the plan, separated by commas.")] = None,
    device: Device = "auto",
    start_from: StartFrom = None,
    sampling: SampleBy = None,
    set_: Settings = None,
    plugin: Plugins = None,
    channels: Channels = None,
    labels: Labels = None,
    spacing_mm: SpacingMm = None,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    keep_equal: KeepEqual = False,
    json: Json = False,
) -> None:
    """Everything: from scans with masks to a model and a report."""
    with catch_errors(plugin):
        from medseg import pipeline

        result = pipeline.run(
            dataset,
            workspace,
            budget_s=parse_seconds(budget, epochs),
            epochs=epochs,
            folds=folds,
            configurations=configurations.split(",") if configurations else None,
            device=device,
            start_from=start_from,
            settings=gather_settings(set_, sampling),
            plugins=plugin or (),
            **gather_names(channels, labels, spacing_mm, nonfinite, keep_equal),
        )
    finish(result, json)


add_tools(app)


def main() -> None:
    """Run the command line; the exit code says what happened (0, 1, 2, 3, 4, 130, 143)."""
    prepare_process()
    run_app(app)
