"""The commands that score, compare, measure and report what was predicted, as in ``cli.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.options.process import catch_errors, finish
from medseg.options.values import gather_masks, parse_margins, parse_tolerances
from medseg.options.words import (
    Channels,
    Definition,
    Gaps,
    GapsBy,
    Json,
    Margins,
    MaskFolder,
    MaskLabels,
    MatchBy,
    Nonfinite,
    NonfiniteBy,
    Output,
    Probabilities,
    Registration,
    RegistrationKind,
    Required,
    ScoreBy,
    ScoreFolders,
    Surfaces,
    Targets,
    Tilt,
    TiltedBy,
    TimelineFile,
    Tolerances,
)


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Folder of masks.")],
    references: Annotated[
        Path, typer.Argument(metavar="REFERENCES", help="Folder of masks taken as true, with the same names.")
    ],
    output: Output,
    images: Annotated[Path | None, typer.Option(help="DICOM scans that SEG and RTSTRUCT were drawn on.")] = None,
    labels: MaskLabels = None,
    tolerance_mm: Tolerances = None,
    definition: Surfaces = Definition.surfel,
    matching: MatchBy = None,
    rules: ScoreBy = None,
    probabilities: Probabilities = None,
    require: Required = None,
    tilt: TiltedBy = Tilt.refuse,
    gaps: GapsBy = Gaps.refuse,
    json: Json = False,
) -> None:
    """Score masks against references."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.evaluate(
            predictions, references, output, tolerance_mm=parse_tolerances(tolerance_mm),
            definition=definition.value, matching=matching or "any_overlap", rules=rules, probabilities=probabilities,
            require=require or (), **gather_masks(labels, images, tilt, gaps),
        )  # fmt: skip
    finish(result, json)


def compare(directories: ScoreFolders, output: Output, margin: Margins = None, json: Json = False) -> None:
    """Compare methods that were scored on the same patients."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.compare(directories, output, margins=parse_margins(margin))
    finish(result, json)


def measure(
    output: Output,
    masks: MaskFolder = None,
    images: Annotated[Path | None, typer.Option(help="The scans, for intensities.")] = None,
    labels: MaskLabels = None,
    channels: Channels = None,
    probabilities: Probabilities = None,
    timeline: TimelineFile = None,
    targets: Targets = None,
    registration: RegistrationKind = Registration.rigid,
    nonfinite: NonfiniteBy = Nonfinite.refuse,
    tilt: TiltedBy = Tilt.refuse,
    gaps: GapsBy = Gaps.refuse,
    json: Json = False,
) -> None:
    """Measure volumes, diameters and lesions of masks, and their change over time."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.measure(
            masks, output, images=images, probabilities=probabilities,
            channels=channels.split(",") if channels else None,
            timeline=timeline, targets=targets, registration=registration.value, nonfinite=nonfinite.value,
            **gather_masks(labels, images, tilt, gaps),
        )  # fmt: skip
    finish(result, json)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A workspace, or a folder of results.")],
    images: Annotated[Path | None, typer.Option(help="The scans, for key slices.")] = None,
    references: Annotated[Path | None, typer.Option(help="Reference masks to draw beside.")] = None,
    labels: Annotated[Path | None, typer.Option(help="rois.json: which structures of DICOM are which label.")] = None,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page about a folder of results."""
    with catch_errors():
        from medseg import pipeline

        result = pipeline.report(directory, images=images, references=references, labels=labels)
    finish(result, json)


def add_results(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (evaluate, compare, measure, report):
        app.command()(command)
