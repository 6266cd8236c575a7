"""The options that several commands share, and the words that some of them take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def show_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    from medseg import __version__

    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


class Engine(StrEnum):
    """What computes a network."""

    torch = "torch"
    openvino = "openvino"
    auto = "auto"


class Target(StrEnum):
    """What a model can be exported to."""

    nnunet = "nnunet"
    onnx = "onnx"
    openvino = "openvino"


class Tilt(StrEnum):
    """What becomes of DICOM scans of a tilted gantry."""

    refuse = "refuse"
    resample = "resample"


class Gaps(StrEnum):
    """What becomes of DICOM scans with missing slices."""

    refuse = "refuse"
    interpolate = "interpolate"


class Register(StrEnum):
    """What becomes of DICOM channels that lie in different frames of reference."""

    refuse = "refuse"
    rigid = "rigid"


class Contours(StrEnum):
    """How the contours of an RTSTRUCT run."""

    exact = "exact"
    smooth = "smooth"


class SegType(StrEnum):
    """What a DICOM SEG holds."""

    binary = "binary"
    labelmap = "labelmap"
    fractional = "fractional"


class Sampling(StrEnum):
    """Where training patches are put."""

    foreground = "foreground"
    lesion = "lesion"


class Definition(StrEnum):
    """How surface metrics are defined."""

    surfel = "surfel"
    voxel = "voxel"
    pooled = "pooled"


class Registration(StrEnum):
    """How scans of a patient are brought together."""

    rigid = "rigid"
    affine = "affine"


class Nonfinite(StrEnum):
    """What becomes of NaN and infinite voxels."""

    refuse = "refuse"
    fill = "fill"


class Precision(StrEnum):
    """How a network computes."""

    exact = "exact"
    bf16 = "bf16"


Data = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Images with masks; the README lists the layouts.", show_default=False)
]
Space = Annotated[Path, typer.Option("--workspace", help="Folder to work in.", show_default=False)]
Channels = Annotated[str | None, typer.Option(help="Names of the channels: CT,PET.")]
Labels = Annotated[str | None, typer.Option(help="liver=1,tumour=2, or a file that names them.")]
MaskLabels = Annotated[
    str | None, typer.Option("--labels", help="liver=1,tumour=2, a file that names them, or rois.json for DICOM.")
]
SpacingMm = Annotated[str | None, typer.Option(help="Spacing of pictures, which seldom know theirs: 0.5 or 0.5,0.5.")]
NonfiniteBy = Annotated[
    Nonfinite, typer.Option("--nonfinite", help="NaN and infinite voxels: refuse the case, or fill them and say so.")
]
TiltedBy = Annotated[Tilt, typer.Option("--tilt", help="A tilted gantry's scans: refuse them, or resample them.")]
RegisterBy = Annotated[
    Register,
    typer.Option("--register", help="DICOM channels of other frames of reference: refuse, or move rigidly."),
]
SeriesRules = Annotated[
    str | None,
    typer.Option("--channels", help="Which DICOM series is which channel: 'CT: Modality=CT; PET: SeriesNumber=4'."),
]
GapsBy = Annotated[Gaps, typer.Option("--gaps", help="Missing DICOM slices: refuse the scan, or interpolate.")]
ContoursBy = Annotated[
    Contours,
    typer.Option("--contours", help="Of RTSTRUCT: along voxel edges, or smooth (refused above 1 % of volume)."),
]
SegTypeBy = Annotated[
    SegType, typer.Option("--seg-type", help="Of DICOM SEG: binary, labelmap (small), or fractional (probabilities).")
]
Followed = Annotated[
    Path | None,
    typer.Option(
        "--follow",
        help="A run or SEG of earlier studies whose lesions keep their identifiers; OUTPUT, where INPUT holds them.",
        metavar="EARLIER",
    ),
]
KeepEqual = Annotated[
    bool, typer.Option("--keep-equal-scans", help="Use cases that hold the same scan, as one patient's; else refused.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Budget = Annotated[str | None, typer.Option(help="Wall-clock time: 90s, 15m, 2h.")]
StartFrom = Annotated[
    Path | None, typer.Option("--start-from", help="A model, or a run's folder, to begin from (fine-tuning).")
]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A module of yours with networks or losses; may be repeated.", metavar="MODULE"),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value of the plan; may be repeated.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="How many epochs, in place of a budget.")]
SampleBy = Annotated[
    Sampling | None,
    typer.Option("--sampling", help="lesion: small lesions are seen as often as large ones; the plan's if not given."),
]
Tolerances = Annotated[
    str | None,
    typer.Option(
        "--tolerance-mm", help="How far a surface may lie off, for NSD: 1, tumour=2 or both; the data set's, else 1."
    ),
]
MatchBy = Annotated[
    str | None,
    typer.Option("--matching", help="When lesions match: any_overlap or iou>=0.5 [maximum] [conn=6]; see the README."),
]
ScoreBy = Annotated[
    str | None, typer.Option("--rules", help="Score as a challenge does: brats, autopet, kits, nnunet, ...")
]
Required = Annotated[
    list[str] | None,
    typer.Option(
        "--require", help="'tumour.lesion_recall[<1ml]>=0.8': end with 4 if missed; may be repeated.", metavar="SCORE"
    ),
]
Probabilities = Annotated[
    Path | None, typer.Option("--probabilities", help="What predict --save-probabilities wrote, to use too.")
]
Surfaces = Annotated[
    Definition,
    typer.Option("--definition", help="Of surface metrics: surfel (by area), voxel (MONAI's) or pooled (MedPy's)."),
]
Like = Annotated[Path | None, typer.Option(help="A model to fine-tune, whose network, spacing and patch are taken.")]
TargetSpacing = Annotated[
    str | None, typer.Option(help="To resample to, in place of the planner's: 1.5 or 0.8,0.8,3 or isotropic.")
]
StatedSpacing = Annotated[
    str | None, typer.Option(help="Of pictures, their own spacing; of other scans as --target-spacing-mm.")
]
FoldsFile = Annotated[
    Path | None, typer.Option(help="Folds in place of the planner's, such as nnU-Net's splits_final.json.")
]
ScoreFolders = Annotated[
    list[Path], typer.Argument(metavar="DIR_A DIR_B ...", help="Folders of scores, the established method's first.")
]
Margins = Annotated[
    list[str] | None,
    typer.Option(
        "--margin",
        help="dice=0.02: how much worse a method may be and still count as not inferior; may be repeated.",
        metavar="METRIC=NUMBER",
    ),
]
MaskFolder = Annotated[
    Path | None, typer.Argument(metavar="MASKS", help="Folder of masks; not needed where a timeline names them.")
]
TimelineFile = Annotated[
    Path | None, typer.Option("--timeline", help="CSV case,patient,day,mask,image: follow lesions over time.")
]
Targets = Annotated[
    Path | None, typer.Option(help="CSV patient,lesion_id: target lesions for RECIST; the largest if not given.")
]
RegistrationKind = Annotated[Registration, typer.Option(help="How scans on different grids are brought together.")]
Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=lambda wanted: show_version(wanted), help="Show the version and end."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Output = Annotated[Path, typer.Option("--output", help="Folder for the results.", show_default=False)]
