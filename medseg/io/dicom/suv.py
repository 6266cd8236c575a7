"""PET to standardised uptake values by body weight (SUVbw), where the header allows it.

Source: QIBA, "SUV calculation, vendor-neutral pseudo-code"; DICOM PS3.3 C.8.9.1 (Units, DecayCorrection), C.8.22
(enhanced PET). Different from it in that a header which leaves something open is refused, with the element's name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.core.errors import FormatError
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.fields import name_tag
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.identity import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUV_UNIT = "SUVbw"
# Grams of a mouse to the heaviest human; a weight in grams or pounds of a large patient lies beyond.
_WEIGHTS_KG = (0.005, 700.0)
# From a mouse's dose to ten times a human's; one that is written in MBq lies below.
_DOSES_BQ = (1e5, 1e11)
# Rubidium-82 has 76 s, zirconium-89 282 000 s, iodine-124 361 000 s.
_HALF_LIVES_S = (30.0, 1e6)
# After twelve half-lives 0.02 % is left: nobody images that, one of the two times is wrong.
_MOST_HALF_LIVES = 12.0
_DAY = timedelta(days=1)
_NO_CORRECTION = ("", "NONE")
_UNITS = {
    "BQML": "BQML", "BQ/ML": "BQML", "CNTS": "CNTS", "GML": "GML", "G/ML{SUVBW}": "GML", "{SUVBW}G/ML": "GML",
    SUV_UNIT.upper(): "GML",
}  # fmt: skip
# What all slices of a series share, and what SUV depends on.
_SHARED = ("PatientWeight", "DecayCorrection", "SeriesDate", "SeriesTime", "CorrectedImage", "SUVType")
_SHARED_OF_DRUG = (
    *("RadionuclideTotalDose", "RadionuclideHalfLife"),
    *("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime"),
)
_PHILIPS_OWNER, _PHILIPS_SUV, _PHILIPS_ACTIVITY = "Philips PET Private Group", 0x00, 0x09
_GE_OWNER, _GE_SCAN_TIME = "GEMS_PETD_01", 0x0D
_DATE_TIME = re.compile(r"^(\d{4})[.-]?(\d\d)[.-]?(\d\d)(\d\d):?(\d\d)?:?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?$")

_TAGS = {
    "CorrectedImage": 0x00280051, "DecayCorrection": 0x00541102, "PatientWeight": 0x00101030,
    "RadionuclideHalfLife": 0x00181075, "RadionuclideTotalDose": 0x00181074, "Units": 0x00541001,
    "RadiopharmaceuticalInformationSequence": 0x00540016, "RadiopharmaceuticalStartTime": 0x00181072,
    "SUVType": 0x00541006, "SeriesTime": 0x00080031, "SeriesDate": 0x00080021,
    "RadiopharmaceuticalStartDateTime": 0x00181078,
}  # fmt: skip


class _Clock(NamedTuple):
    """Start of the scan and of the administration, and what was doubtful about them."""

    scan: datetime
    start: datetime
    notes: tuple[str, ...] = ()


def scale_to_suv(frames: Sequence[FrameHeader]) -> tuple[list[FrameHeader], tuple[str, ...]]:
    """Headers whose scales give SUVbw, for the planes of a PET series.

    Args:
        frames: of one series, with the scales of their files.
    Returns:
        the same headers with scales to SUVbw (g/ml), and what was doubtful, a line each.
    Raises:
        FormatError: the header lacks something that SUVbw needs, or states what cannot be; the element is named.
    """
    first = frames[0]
    units = {frame.scale.unit for frame in frames}
    if len(units) > 1:
        raise _refuse("Units", f"{len(units)} different units in one series, expected one", first)
    content = open_dataset(first.path)
    with quiet():
        _check_agreement(content, frames)
        factor, notes = _find_factor(content, frames)
    scaled = [
        replace(
            frame,
            scale=replace(
                frame.scale, slope=frame.scale.slope * factor, intercept=frame.scale.intercept * factor, unit=SUV_UNIT
            ),
        )
        for frame in frames
    ]
    return scaled, notes


def _check_agreement(content: Dataset, frames: Sequence[FrameHeader]) -> None:
    """Refuse a series whose first and last file disagree in what all slices share: one of the two is damaged."""
    first, last = frames[0], frames[-1]
    if first.path == last.path:
        return
    other = open_dataset(last.path)
    for keyword in _SHARED:
        _check_same(keyword, content, other, first, last)
    drugs: list[Any] = [file.get("RadiopharmaceuticalInformationSequence") or () for file in (content, other)]
    for mine, its in zip(*drugs, strict=False):
        for keyword in _SHARED_OF_DRUG:
            _check_same(keyword, mine, its, first, last)


def _check_same(keyword: str, mine: Dataset, its: Dataset, first: FrameHeader, last: FrameHeader) -> None:
    values = [str(item.get(keyword) or "") for item in (mine, its)]
    if values[0] != values[1]:
        shown = " and ".join(
            f"{value[:32]!a} in {one.path.name}" for value, one in zip(values, (first, last), strict=True)
        )
        raise _refuse(keyword, f"{shown}, expected one value for the series", first)


def _find_factor(content: Dataset, frames: Sequence[FrameHeader]) -> tuple[float, tuple[str, ...]]:
    first = frames[0]
    stated = first.scale.unit
    unit = _UNITS.get(stated.upper().replace(" ", ""))
    if unit == "GML":
        kind = str(content.get("SUVType") or "BW")
        if kind != "BW":
            raise _refuse("SUVType", f"SUV of the type {kind[:16]!a}, expected BW (body weight)", first)
        return 1.0, ()
    if unit == "CNTS":
        return _find_philips_factor(content, frames)
    if unit is None:
        said = f"{stated[:16]!a}, expected BQML, CNTS or GML" if stated else "missing, expected BQML, CNTS or GML"
        raise _refuse("Units", said, first)
    return _find_activity_factor(content, frames)


def _find_philips_factor(content: Dataset, frames: Sequence[FrameHeader]) -> tuple[float, tuple[str, ...]]:
    """Philips stores counts, with the factor to SUVbw, or the one to Bq/ml, in private elements."""
    suv = _read_private(content, 0x7053, _PHILIPS_OWNER, _PHILIPS_SUV)
    if suv:
        return suv, ()
    activity = _read_private(content, 0x7053, _PHILIPS_OWNER, _PHILIPS_ACTIVITY)
    if not activity:
        raise _refuse("Units", "CNTS without Philips' factors (7053,1000) and (7053,1009), expected BQML", frames[0])
    factor, notes = _find_activity_factor(content, frames)
    return activity * factor, notes


def _read_private(content: Dataset, group: int, owner: str, element: int) -> float:
    """A private number of its owner; 0 where there is none."""
    try:
        value = float(content.private_block(group, owner)[element].value)
    except (KeyError, TypeError, ValueError):
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0


def _find_activity_factor(content: Dataset, frames: Sequence[FrameHeader]) -> tuple[float, tuple[str, ...]]:
    """From Bq/ml to g/ml: the weight in grams through the dose that is left when the image's decay is corrected to."""
    first = frames[0]
    _check_corrections(content, first)
    drugs: Any = content.get("RadiopharmaceuticalInformationSequence") or ()
    if len(drugs) != 1:
        raise _refuse("RadiopharmaceuticalInformationSequence", f"{len(drugs)} items, expected one", first)
    weight = _read_number(content, "PatientWeight", "kg", _WEIGHTS_KG, first)
    dose = _read_number(drugs[0], "RadionuclideTotalDose", "Bq", _DOSES_BQ, first)
    decay = "START" if _is_enhanced(content) else str(content.get("DecayCorrection") or "")
    if decay == "ADMIN":
        return weight * 1000 / dose, ()
    if decay != "START":
        raise _refuse("DecayCorrection", f"{decay[:16]!a}, expected START or ADMIN" if decay else "missing", first)
    half_life = _read_number(drugs[0], "RadionuclideHalfLife", "s", _HALF_LIVES_S, first)
    clock = _find_clock(content, drugs[0], frames, half_life)
    elapsed = (clock.scan - clock.start).total_seconds()
    if not 0 <= elapsed <= _MOST_HALF_LIVES * half_life:
        raise _refuse(
            "RadiopharmaceuticalStartTime",
            f"{elapsed:.0f} s before the scan, expected 0 to {_MOST_HALF_LIVES * half_life:.0f} s",
            first,
        )
    return weight * 1000 / (dose * 2 ** (-elapsed / half_life)), clock.notes


def _is_enhanced(content: Dataset) -> bool:
    return "DecayCorrectionDateTime" in content and str(content.get("DecayCorrected") or "") == "YES"


def _check_corrections(content: Dataset, first: FrameHeader) -> None:
    """Refuse images whose activity is none: without correction for attenuation or decay."""
    done = content.get("CorrectedImage") or ()
    names = {done} if isinstance(done, str) else {str(name) for name in done}
    method = str(content.get("AttenuationCorrectionMethod") or "").strip().upper()
    attenuation = "ATTN" in names or str(content.get("AttenuationCorrected") or "") == "YES"
    if not attenuation and (names or method in _NO_CORRECTION):
        raise _refuse("CorrectedImage", "no correction for attenuation (ATTN)" if names else "missing", first)
    if names and "DECY" not in names and not _is_enhanced(content):
        raise _refuse("CorrectedImage", "no correction for decay (DECY)", first)


def _read_number(content: Dataset, keyword: str, unit: str, limits: tuple[float, float], first: FrameHeader) -> float:
    try:
        value = float(content.get(keyword))
    except (TypeError, ValueError):
        raise _refuse(keyword, "missing or no number", first) from None
    if not limits[0] <= value <= limits[1]:
        raise _refuse(keyword, f"{value:g} {unit}, expected {limits[0]:g} to {limits[1]:g} {unit}", first)
    return value


def _find_clock(content: Dataset, drug: Any, frames: Sequence[FrameHeader], half_life: float) -> _Clock:
    scan, notes = _find_scan_time(content, frames)
    start = _parse(str(drug.get("RadiopharmaceuticalStartDateTime") or ""))
    if start is not None and 0 <= (scan - start).total_seconds() <= _MOST_HALF_LIVES * half_life:
        return _Clock(scan, start, notes)
    day = _parse(f"{scan:%Y%m%d}" + str(drug.get("RadiopharmaceuticalStartTime") or ""))
    if day is None:
        if start is not None:
            return _Clock(scan, start, notes)
        raise _refuse("RadiopharmaceuticalStartTime", "missing", frames[0])
    if start is not None:
        notes += ("the date of administration contradicts that of the scan; its time of day was taken",)
    if day > scan:  # a time of day alone, of the evening before
        day -= _DAY
        notes += ("the tracer was given on the day before the scan, by their times of day",)
    return _Clock(scan, day, notes)


def _find_scan_time(content: Dataset, frames: Sequence[FrameHeader]) -> tuple[datetime, tuple[str, ...]]:
    """When the scan began, which decay is corrected to: the series' time, unless it was written after the scan."""
    if _is_enhanced(content):
        reference = _parse(str(content.DecayCorrectionDateTime))
        if reference is not None:
            return reference, ()
    series = _parse(str(content.get("SeriesDate") or "") + str(content.get("SeriesTime") or ""))
    earliest = _find_acquisition(content, frames)
    if series is not None and (earliest is None or series <= earliest):
        return series, ()
    ge = _parse(str(_read_text(content, 0x0009, _GE_OWNER, _GE_SCAN_TIME)))
    if ge is not None and (earliest is None or ge <= earliest):
        return ge, ()
    if earliest is None:
        raise _refuse("SeriesTime", "missing, and no acquisition time", frames[0])
    return earliest, ("the series was written after the scan; decay is taken from the earliest acquisition",)


def _read_text(content: Dataset, group: int, owner: str, element: int) -> str:
    try:
        return str(content.private_block(group, owner)[element].value)
    except KeyError:
        return ""


def _find_acquisition(content: Dataset, frames: Sequence[FrameHeader]) -> datetime | None:
    """The earliest acquisition of all planes, by their times and the date of the first file."""
    stated = str(content.get("AcquisitionDate") or content.get("SeriesDate") or "")
    own = _parse(stated + str(content.get("AcquisitionTime") or ""))
    if own is None:
        own = _parse(str(content.get("AcquisitionDateTime") or ""))
    times = [frame.moment.time_s for frame in frames if frame.moment.time_s is not None]
    if own is None or not times:
        return own
    midnight = own.replace(hour=0, minute=0, second=0, microsecond=0)
    # Times that lie half a day apart are those of a scan over midnight.
    base = (own - midnight).total_seconds()
    return midnight + timedelta(seconds=min(_near(time, base) for time in times))


def _near(time_s: float, base_s: float) -> float:
    day = _DAY.total_seconds()
    return time_s + day * round((base_s - time_s) / day)


def _parse(text: str) -> datetime | None:
    """Date and time as DICOM writes them, of the scanner's zone; None where they are none."""
    match = _DATE_TIME.match(text.strip())
    if match is None:
        return None
    year, month, day, hour = (int(match[part]) for part in range(1, 5))
    minute, second = int(match[5] or 0), int(match[6] or 0)
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), int((match[7] or "0").ljust(6, "0")))
    except ValueError:
        return None


def _refuse(keyword: str, what: str, frame: FrameHeader) -> FormatError:
    return FormatError(
        f"no SUV: {name_tag(_TAGS[keyword])}: {what}", code="no_suv", file=frame.path,
        remedy="Correct the header, or use the values as they are stored",
    )  # fmt: skip
