"""How numbers are written for people: names, units and as many digits as mean something."""

from __future__ import annotations

import math

from medseg.core.results import Status

DASH = "–"
_THIN_SPACE = "\u202f"

_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "hd": "HD",
    "hd95": "HD95",
    "assd": "ASSD",
    "masd": "MASD",
    "boundary_iou": "boundary IoU",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "ece": "ECE",
    "ace": "ACE",
    "nll": "NLL",
    "brier": "Brier",
    "ap50": "AP50",
    "ap75": "AP75",
    "lesion_f1": "lesion F1",
    "lesionwise_dice": "lesion-wise Dice",
    "lesionwise_hd95": "lesion-wise HD95",
    "false_negative_volume_ml": "false-negative volume",
    "false_positive_volume_ml": "false-positive volume",
    "true_positive_voxels": "true positives",
    "false_positive_voxels": "false positives",
    "false_negative_voxels": "false negatives",
    "true_negative_voxels": "true negatives",
    "prediction_voxels": "prediction",
    "reference_voxels": "reference",
    "volume_ml": "volume",
    "predicted_volume_ml": "predicted volume",
    "reference_volume_ml": "reference volume",
    "member_sd_ml": "spread over the networks",
    "diameter_axial_mm": "longest axial diameter",
    "diameter_perpendicular_mm": "perpendicular diameter",
    "lesion_count": "lesions",
}

# Decimals by unit: a hundredth of a millilitre and a tenth of a millimetre lie below what a voxel resolves; scores
# from 0 to 1 differ in the third digit between good models.
_DECIMALS = {"ml": 2, "mm": 1, "mm2": 0, "voxels": 0, "%": 1, "count": 0}

STATUS_WORDS: dict[Status, str] = {
    "ok": "known",
    "both_empty": "neither the prediction nor the reference holds this label",
    "prediction_empty": "the prediction lacks this label, the reference has it",
    "reference_empty": "the reference lacks this label, the prediction has it",
    "no_image": "there is no image to measure in",
    "no_reference": "there is no reference to compare with",
    "not_defined": "not defined for this mask (empty, for example)",
    "failed": "the calculation failed",
}


def title_of(name: str) -> str:
    """A metric's or quantity's name for people: ``hd95`` is ``HD95``, ``volume_similarity`` ``volume similarity``."""
    return _TITLES.get(name, name.replace("_", " "))


def format_number(value: float, unit: str = "", decimals: int | None = None) -> str:
    """A number with the decimals of its unit, without the unit.

    Args:
        value: finite or infinite.
        unit: ``ml``, ``mm``, ``mm2``, ``voxels``, ``%``, ``count`` or nothing for scores from 0 to 1.
        decimals: instead of the unit's.
    Returns:
        the text; what is not 0 but would be rounded to it reads ``<0.01``, so that nothing small looks like nothing;
        infinity is ``∞``, not-a-number a dash; thousands are set apart from 10 000 on.
    """
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = _DECIMALS.get(unit, 3) if decimals is None else decimals
    text = f"{abs(value):.{digits}f}"
    if value > 0 and float(text) == 0:
        return f"<{10.0**-digits:.{digits}f}"
    if abs(value) >= 10_000:
        text = f"{abs(value):,.{digits}f}".replace(",", _THIN_SPACE)
    return f"−{text}" if value < 0 and float(text.replace(_THIN_SPACE, "")) != 0 else text


def format_score(value: float | None, unit: str) -> str:
    """A score: distances with two decimals, for good surfaces lie tenths of a millimetre apart; else as any number."""
    return DASH if value is None else format_number(value, unit, 2 if unit == "mm" else None)


def format_value(value: float | None, unit: str = "") -> str:
    """A number as ``format_number`` writes it, or a dash where it is not known."""
    return DASH if value is None else format_number(value, unit)


def format_interval(value: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """A value with its error bar: ``34.2 (31.0 to 37.4)``.

    Args:
        value: the number.
        low, high: its error bar; None where it is not known.
        unit: as for ``format_number``.
    Returns:
        the text, with no more decimals than the bar's width leaves sense to; as ``format_value`` without a bar.
    """
    if value is None or low is None or high is None:
        return format_value(value, unit)
    width = high - low
    digits = _DECIMALS.get(unit, 3)
    if width > 0:  # two digits of the width
        digits = max(0, min(digits, 1 - math.floor(math.log10(width))))
    bounds = " to ".join(format_number(end, unit, digits) for end in (low, high))
    return f"{format_number(value, unit, digits)} ({bounds})"


def format_change(value: float | None, unit: str) -> str:
    """A difference with its sign, or a dash where it is not known."""
    if value is None:
        return DASH
    text = format_number(abs(value), unit)
    return text if value == 0 else f"{'+' if value > 0 else '−'}{text}"


def explain_status(status: str) -> str:
    """A status in words."""
    return next((words for name, words in STATUS_WORDS.items() if name == status), status)
