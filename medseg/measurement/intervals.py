"""Error bars of measured volumes, from the errors that the model of a mask made in its cross-validation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from medseg.core.labels import LabelScheme
from medseg.core.model import VolumeErrors
from medseg.core.results import Measurement
from medseg.measurement.origins import MaskOrigin
from medseg.measurement.quantities import Quantity

# What bounds are given for: the errors were learnt from this count, and a lesion's share of a label's error is unknown.
QUANTITY = "volume_ml"
LESIONS = "no error bars of single lesions: the errors were learnt from whole labels"
EMPTY = "the mask is empty, and errors are known in proportion to a volume"


class Interval(NamedTuple):
    """A volume's error bar.

    Args:
        low, high: millilitres; None where it is not known.
        reason: why it is not known; empty where it is.
        note: what to know of it; empty where there is nothing.
    """

    low: float | None = None
    high: float | None = None
    reason: str = ""
    note: str = ""


def bound_volume(errors: VolumeErrors | None, label: str, values: Sequence[int], volume_ml: float | None) -> Interval:
    """Between what bounds a true volume lies, given the predicted one.

    Args:
        errors: of the model that predicted the mask, as ``choose`` learnt them; None where they are not known.
        label, values: the class or region, and its values in the mask.
        volume_ml: the predicted volume by counting voxels.
    Returns:
        the interval that holds the true volume of ``errors.level`` (95 %) of patients like those that the errors were
        learnt from; it may lie beside the predicted volume where the model always draws too little or too much. None
        and the reason where nothing is known, and for an empty mask. A volume beyond those learnt from has the
        interval of the nearest ones, and a note.
    """
    if errors is None:
        return Interval(reason="the model's errors are not known")
    known = errors.find(label, values)
    if known is None:
        return Interval(reason=f"the model knows no errors of a label {label} with these values")
    if not known.strata:
        return Interval(reason=known.reason)
    if not volume_ml:
        return Interval(reason=EMPTY)
    stratum = next(own for own in known.strata if own.holds(volume_ml))
    note = ""
    if volume_ml < (known.smallest_ml or 0.0) or volume_ml > (known.largest_ml or 0.0):
        seen = f"{known.smallest_ml or 0:.3g} to {known.largest_ml or 0:.3g} ml"
        note = f"{volume_ml:.3g} ml lies beyond the {seen} that its error bar was learnt from"
    return Interval(volume_ml * stratum.low, volume_ml * stratum.high, note=note)


def add_interval(row: Measurement, errors: VolumeErrors | None, labels: LabelScheme) -> Measurement:
    """A row of a whole label's volume with its bounds, where they are known; every other row as it is."""
    if errors is None or row.instance or row.quantity != QUANTITY:
        return row
    found = bound_volume(errors, row.label, labels.labels[row.label], row.value)
    return replace(row, low=found.low, high=found.high)


def describe_members(volumes_ml: Sequence[float]) -> list[Quantity]:
    """How far the networks of an ensemble disagree.

    Args:
        volumes_ml: of a label in each network's own mask.
    Returns:
        ``member_sd_ml``, the standard deviation; nothing for fewer than two networks. It is no error bar: networks that
        were trained on the same scans are wrong together.
    """
    if len(volumes_ml) < 2:
        return []
    definition = f"standard deviation of the volume in {len(volumes_ml)} networks' own masks"
    return [Quantity("member_sd_ml", definition, statistics.stdev(volumes_ml), "ml")]


def describe_intervals(
    origins: Mapping[str, MaskOrigin], rows: Iterable[Measurement], labels: LabelScheme
) -> dict[str, Any]:
    """What the error bars of measured volumes come from, for the JSON twin.

    Args:
        origins: by case what is known of its mask.
        rows: the measurements.
        labels: their scheme.
    Returns:
        ``errors``, a table by the model's hash; ``unknown``, by case or by case and label why there is none; ``notes``
        about single volumes. Empty where no mask was predicted by medseg.
    """
    if not any(origin.model for origin in origins.values()):
        return {}
    errors = {origin.model: origin.errors for origin in origins.values() if origin.errors is not None}
    unknown = {case: origin.reason for case, origin in origins.items() if origin.reason}
    notes = []
    for row in rows:
        origin = origins.get(row.case)
        if origin is None or origin.errors is None or row.instance or row.quantity != QUANTITY:
            continue
        found = bound_volume(origin.errors, row.label, labels.labels[row.label], row.value)
        if found.reason:
            unknown[f"{row.case} {row.label}"] = found.reason
        if found.note:
            notes.append(f"{row.case} {row.label}: {found.note}")
    tables = {model: table.model_dump(mode="json") for model, table in errors.items()}
    return {"quantity": QUANTITY, "lesions": LESIONS, "errors": tables, "unknown": unknown, "notes": notes}


def tell_intervals(description: Mapping[str, Any]) -> list[str]:
    """Why volumes have no error bars, and what to know of others, in sentences for the log.

    Args:
        description: of ``describe_intervals``.
    Returns:
        a line per reason and per note, none of empty masks; empty where there is nothing to say.
    """
    cases: dict[str, list[str]] = {}
    for case, reason in description.get("unknown", {}).items():
        if reason != EMPTY:
            cases.setdefault(reason, []).append(case)
    lines = []
    for reason, named in cases.items():
        further = f" and {len(named) - 1} more" if len(named) > 1 else ""
        lines.append(f"no error bar of the volume: {named[0]}{further}: {reason}")
    return lines + list(description.get("notes", ()))
