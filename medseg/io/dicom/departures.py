"""The slice whose header departs from those of its series: damage that reads as a value.

DICOM has no checksum: a changed byte of a header is another value. But the slices of a series repeat nearly all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from medseg.core.errors import FormatError
from medseg.io.dicom.headers import FrameHeader

# A value is that of the series where more than half of its slices state it, and at least as many.
FEWEST_ALIKE = 3
_DEFAULTS = (("RescaleSlope (0028,1053)", 1.0), ("RescaleIntercept (0028,1052)", 0.0))
_REMEDY = "Fetch the series again"

_Value = TypeVar("_Value", bound=Hashable)


def find_lack(planes: Sequence[FrameHeader]) -> FormatError | None:
    """Why a slice's values cannot be known: it lacks the scale that others of its series state.

    Args:
        planes: of one volume.
    Returns:
        an error that names the slice and the element; None where all state it, none does, or what they state is what
        holds without it.
    """
    for index, (name, default) in enumerate(_DEFAULTS):
        lacking = [plane for plane in planes if not plane.scale.stated[index]]
        if not lacking or len(lacking) == len(planes):
            continue
        found = {(plane.scale.slope, plane.scale.intercept)[index] for plane in planes if plane.scale.stated[index]}
        if found != {default}:
            count = len(planes) - len(lacking)
            others = f"{count} other slice{'s do' if count > 1 else ' does'}"
            return FormatError(
                f"{lacking[0].label} states no {name}, expected one: {others}",
                code="mixed_scale", file=lacking[0].path, remedy=_REMEDY,
            )  # fmt: skip
    return None


def find_common(values: Sequence[_Value]) -> _Value | None:
    """What most slices of a series state; None where nothing is stated by more than half of them, and by three.

    Args:
        values: one of each slice.
    """
    value, count = Counter(values).most_common(1)[0]
    return value if count >= FEWEST_ALIKE and 2 * count > len(values) else None


def note_departures(planes: Sequence[FrameHeader]) -> list[str]:
    """Slices that state something else than most of their series.

    Args:
        planes: of one volume.
    Returns:
        a line for each property, which names the first such slice; empty as a rule, and where each slice has its own.
    """
    notes = []
    for name, read in _PROPERTIES:
        values = [read(plane) for plane in planes]
        common = find_common(values)
        odd = [plane for plane, value in zip(planes, values, strict=True) if value != common]
        if common is None or not odd:
            continue
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        notes.append(
            f"{odd[0].label}{more} states {name} {read(odd[0])}, {len(planes) - len(odd)} other slices {common}:"
            " if that is damage, its values are wrong"
        )
    return notes


def note_lost_slices(planes: Sequence[FrameHeader]) -> list[str]:
    """What is said where headers count more slices than there are: at an end none leaves a gap.

    Args:
        planes: of one volume.
    Returns:
        a line; none where as many are there, where nothing is stated, or slices state different numbers.
    """
    stated = find_common([plane.slice_count for plane in planes])
    # Some count those of all times of a dynamic scan.
    if not stated or stated <= len(planes) or stated % len(planes) == 0:
        return []
    return [f"its header counts {stated} slices, {len(planes)} are there: slices may be missing at an end"]


def _show_padding(plane: FrameHeader) -> str:
    padding = plane.scale.padding
    return "none" if padding is None else f"{padding[0]} to {padding[1]}"


def _show_bits(plane: FrameHeader) -> str:
    pixels = plane.pixels
    assert pixels is not None  # only images come here
    sign = "signed" if pixels.signed else "unsigned"
    return f"{sign} values of {pixels.bits_stored} bits up to bit {pixels.high_bit}"


# What a voxel's value depends on; as text, since it is shown.
_PROPERTIES: tuple[tuple[str, Callable[[FrameHeader], str]], ...] = (
    ("RescaleSlope", lambda plane: f"{plane.scale.slope:.16g}"),
    ("RescaleIntercept", lambda plane: f"{plane.scale.intercept:.16g}"),
    ("padding", _show_padding),
    ("pixels of", _show_bits),
)
