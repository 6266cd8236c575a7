"""One slice's file of a series cut, or with bits of its header flipped, and what a reader makes of the series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medseg.core.errors import MedsegError
from medseg.core.volume import Volume
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from tests.io.dicom_series import MR, PET, Plane, pile

PIXELS = b"\xe0\x7f\x10\x00"
# A slope of a slice's own that is changed by less than this is not told from anatomy: of the flipped bits in the slopes
# of three real PET scans, those that change one by more than 16 % are all said.
UNKNOWABLE = 0.2
SLOPES = (0.0512345, 0.0412345, 0.0612345, 0.0552345, 0.0312345, 0.0412346)
HEADERS = {
    "CT": {},
    "MR": {"Modality": "MR", "SOPClassUID": MR, "RescaleType": None},
    "PT": {"Modality": "PT", "SOPClassUID": PET, "RescaleType": None, "Units": "BQML"},
}


def make_series(modality: str) -> list[Plane]:
    """Six slices of CT, MR or PT; of PET each has a scale of its own."""
    planes = pile(6, header=HEADERS[modality])
    if modality != "PT":
        return planes
    return [plane.but(RescaleSlope=slope) for plane, slope in zip(planes, SLOPES, strict=True)]


def judge_series(
    folder: Path, target: Path, damaged: Iterable[tuple[str, bytes]], least_change: float = 0.0
) -> tuple[Counter[str], list[str]]:
    """What becomes of a series for each damaged file of one of its slices.

    Args:
        folder: of the sound series.
        target: the slice's file, which is written anew each time and as it was in the end.
        damaged: what was done, and the bytes.
        least_change: share of the highest value below which changed values count as the same.
    Returns:
        how often the series was ``refused``, the ``same``, ``said`` to be doubtful, ``unnoticed``; and what was done
        in the unnoticed ones.
    """
    content = target.read_bytes()
    (series,) = find_series(folder).images
    whole, _, said = read_series(series)
    assert said == ()
    found: Counter[str] = Counter()
    unnoticed = []
    for what, changed in damaged:
        target.write_bytes(changed)
        outcome = _read(folder, whole, least_change)
        found[outcome] += 1
        if outcome == "unnoticed":
            unnoticed.append(what)
    target.write_bytes(content)
    return found, unnoticed


def _read(folder: Path, whole: Volume, least_change: float) -> str:
    try:
        volume, _, notes = read_series(max(find_series(folder).images, key=lambda one: len(one.planes)))
    except MedsegError:
        return "refused"
    if volume.array.shape == whole.array.shape and volume.geometry.same_grid(whole.geometry):
        change = np.abs(volume.array - whole.array).max() / np.abs(whole.array).max()
        if change == 0 or change < least_change:
            return "same"
    return "said" if notes else "unnoticed"
