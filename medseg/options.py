"""What commands share: options, what their words mean, how a command starts and how it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from medseg.core.labels import LabelScheme
    from medseg.core.manifest import StepResult


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
SpacingMm = Annotated[str | None, typer.Option(help="Spacing of pictures, which seldom know theirs: 0.5 or 0.5,0.5.")]
NonfiniteBy = Annotated[
    Nonfinite, typer.Option("--nonfinite", help="NaN and infinite voxels: refuse the case, or fill them and say so.")
]
TiltedBy = Annotated[Tilt, typer.Option("--tilt", help="A tilted gantry's scans: refuse them, or resample them.")]
GapsBy = Annotated[Gaps, typer.Option("--gaps", help="Missing DICOM slices: refuse the scan, or interpolate.")]
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


def show_version(wanted: bool) -> None:
    """Print the version and end, where it is asked for."""
    from medseg import __version__

    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


def gather_names(
    channels: str | None,
    labels: str | None,
    spacing_mm: str | None,
    nonfinite: Nonfinite = Nonfinite.refuse,
    keep_equal: bool = False,
) -> dict[str, Any]:
    """The options that say how a data set is read, as ``check`` and its like take them."""
    return {
        "channels": channels.split(",") if channels else None,
        "labels": parse_scheme(labels),
        "spacing_mm": parse_numbers(spacing_mm),
        "nonfinite": nonfinite.value,
        "keep_equal_scans": keep_equal,
    }


def parse_scheme(labels: str | None) -> LabelScheme | None:
    """``liver=1,tumour=2``, or a file that names them, as a scheme; None for None."""
    from medseg.io import parse_labels

    return parse_labels(labels) if labels else None


def parse_seconds(budget: str | None, epochs: int | None = None) -> float | None:
    """``15m`` as seconds; None where no budget was given."""
    from medseg.training.schedule import parse_duration

    if budget and epochs:
        raise typer.BadParameter("give --budget or --epochs, not both")
    return parse_duration(budget) if budget else None


def parse_target(target: str | None, stated: str | None) -> Any:
    """The spacing to resample to: numbers or ``isotropic``; None where neither option asks for one in so many words."""
    if "isotropic" in (target, stated):
        return "isotropic"
    return parse_numbers(target)


def parse_numbers(text: str | None) -> list[float] | None:
    """``0.5,0.5`` as numbers; None for None."""
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number or numbers separated by commas") from None


def parse_tolerances(text: str | None) -> dict[str, float] | None:
    """``1`` or ``tumour=2`` or ``1,tumour=2`` as numbers by label, with no name for all the others; None for None."""
    if text is None:
        return None
    named = {}
    for part in text.split(","):
        name, _, value = part.rpartition("=")
        try:
            named[name.strip()] = float(value)
        except ValueError:
            raise typer.BadParameter(f"--tolerance-mm {part!r} is not a number or label=number") from None
    return named


def parse_margins(texts: list[str] | None) -> dict[str, float]:
    """``dice=0.02`` as metric and number; empty for None."""
    margins: dict[str, float] = {}
    for text in texts or []:
        metric, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not metric.strip() or not 0 < value < float("inf"):
            raise typer.BadParameter(f"--margin {text!r} is not metric=number with a number above 0")
        if metric.strip() in margins:
            raise typer.BadParameter(f"--margin is given twice for {metric.strip()}")
        margins[metric.strip()] = value
    return margins


def parse_folds(text: str | None) -> list[int | str] | None:
    """``0,1`` as numbers, ``all`` as it is; None for None."""
    return [int(fold) if fold.isdigit() else fold for fold in text.split(",")] if text else None


def parse_part(text: str | None) -> tuple[int, int] | None:
    """``1/4`` as (1, 4)."""
    if text is None:
        return None
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and int(second)):
        raise typer.BadParameter(f"--part {text!r} is not like 1/4, the first of four parts")
    number, count = int(first), int(second)
    if not 1 <= number <= count:
        raise typer.BadParameter(
            f"there is no part {number} of {count}; use --part 1/{count} to --part {count}/{count}"
        )
    return number, count


def join_files(*files: Path | None) -> tuple[Path, Path, Path] | None:
    """nnU-Net's fingerprint, its dataset.json and the file to write, which are given together or not at all."""
    first, second, third = files
    if first is not None and second is not None and third is not None:
        return first, second, third
    if any(files):
        raise typer.BadParameter("give --fingerprint, --dataset-json and --output together")
    return None


def split_setting(text: str) -> tuple[str, str]:
    """``key=value`` in two."""
    key, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"--set {text!r} is not key=value")
    return key.strip(), value.strip()


def gather_settings(pairs: list[str] | None, sampling: Sampling | None) -> dict[str, str]:
    """Other values for keys of the plan: those of ``--set``, and those with an option of their own."""
    return dict(map(split_setting, pairs or [])) | ({"sampling": sampling.value} if sampling else {})


# Of errors of resources, those that come before anything is done; and commands that do not do again what they did.
NOT_STARTED = ("no_device", "no_room", "in_use")
GO_ON = ("run", "demo", "preprocess", "train", "predict")


@contextlib.contextmanager
def catch_errors(plugins: list[str] | None = None) -> Iterator[None]:
    """Each expected error is one line on standard error: 2 where nothing could start, 1 where the run failed.

    Args:
        plugins: the user's modules, imported first.
    """
    from medseg.core.errors import MedsegError, ResourceError

    try:
        if plugins:
            from medseg.core.plugins import load_plugins

            load_plugins(plugins)
        yield
    except ResourceError as error:
        typer.echo(f"medseg: {error}", err=True)
        raise typer.Exit(2 if error.code in NOT_STARTED else 1) from None
    except MedsegError as error:
        typer.echo(f"medseg: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:  # a disk that is full, a folder that cannot be written
        from medseg.core.disk import explain_write

        typer.echo(f"medseg: {explain_write(error)}", err=True)
        raise typer.Exit(1) from None
    except MemoryError as error:
        typer.echo(f"medseg: the memory is full {error}. Free memory or use a machine with more", err=True)
        raise typer.Exit(1) from None


def prepare_process() -> None:
    """Set up a process that runs one command: its log, its threads, its memory."""
    import gc
    import logging
    import sys

    # Threads that wait for one another sleep instead of spinning: on a shared machine that halves the processor time.
    # It must be said before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Looking for cycles after every 700 new objects makes a sixth of PyTorch's import.
    gc.set_threshold(10_000, 10, 10)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(logging.INFO)


def run_app(app: typer.Typer) -> None:
    """Run the command that the process was started with; SIGTERM and Ctrl-C end it soon, saying how to go on."""
    import sys

    from medseg.core.interruption import run_stoppable
    from medseg.core.quick_exit import leave_quickly

    goes_on = sys.argv[1:2] and sys.argv[1] in GO_ON
    with leave_quickly():
        run_stoppable(app, "the same command goes on where it stopped" if goes_on else "the same command begins anew")


def refuse_torchrun(command: str | None) -> None:
    """End with 2 where torchrun started a command that several processes cannot share."""
    if "TORCHELASTIC_RUN_ID" in os.environ and _count_processes() > 1 and command != "train":
        raise typer.BadParameter(f"torchrun starts several processes for medseg train alone, not for {command}")


def _count_processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def finish(result: StepResult, as_json: bool) -> None:
    """Print a result, as text or as JSON, and end with its exit code; of several processes the first prints."""
    from medseg.core.manifest import exit_code

    code = exit_code(result.outcomes)
    if _count_processes() == 1 or os.environ.get("RANK") == "0":
        typer.echo(result.to_json() if as_json else result.text)
    raise typer.Exit(4 if result.missed and code != 2 else code)
