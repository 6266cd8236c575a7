"""What the words of options mean: texts to numbers, names and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from medseg.options.words import Gaps, Nonfinite, Sampling, Tilt

if TYPE_CHECKING:
    from medseg.core.labels import LabelScheme
    from medseg.io.dicom.reading import DicomReading


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


def gather_masks(
    labels: str | None, images: Path | None, tilt: Tilt, gaps: Gaps
) -> dict[str, LabelScheme | DicomReading | None]:
    """The options that say how masks are read: their labels, and of DICOM which structures are which and on what."""
    from medseg.io.dicom.reading import DicomReading
    from medseg.io.dicom.roi_names import is_roi_file, read_roi_rules

    rules = read_roi_rules(labels) if labels and "=" not in labels and is_roi_file(labels) else None
    return {
        "labels": None if rules else parse_scheme(labels),
        "dicom": DicomReading((images,) if images else (), rules, tilt=tilt.value, gaps=gaps.value),
    }


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
