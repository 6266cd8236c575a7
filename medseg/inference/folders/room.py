"""Whether the masks of a folder will fit on the disk, asked before they are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from medseg.core.dataset import Case
from medseg.core.disk import require_room
from medseg.core.errors import MedsegError
from medseg.io.files import NIFTI_ENDINGS, split_ending
from medseg.io.nifti import read_nifti_header

# Bytes a voxel that compressed files took at the least: masks of one organ, and each channel of probabilities, which
# are 0 or 1 nearly everywhere.
MASK_BYTES, PROBABILITY_BYTES = 0.001, 0.04
# Headers of so many scans are read; the others are taken to be alike.
MOST_HEADERS = 100


def require_room_for_masks(output: Path, cases: Sequence[Case], ending: str, *, probabilities: int = 0) -> None:
    """Refuse to segment scans whose masks will not fit on the disk; those that stand there already count no more.

    Args:
        output: the folder of masks.
        cases: to segment.
        ending: of the masks.
        probabilities: how many channels of them are written, too.
    Raises:
        ResourceError: the disk has less room than that, with code ``no_room``.
    """
    missing = [case for case in cases if not (output / f"{case.name}{ending}").is_file()]
    step = max(1, -(-len(missing) // MOST_HEADERS))
    voxels = [count for case in missing[::step] if (count := _count_voxels(case)) is not None]
    if not voxels:
        return
    each = sum(voxels) / len(voxels) * (MASK_BYTES + probabilities * PROBABILITY_BYTES)
    what = "masks and probabilities" if probabilities else "masks"
    remedy = "Or leave out --save-probabilities" if probabilities else ""
    require_room(output, each * len(missing), f"writing {what} of {len(missing)} scans", remedy=remedy)


def _count_voxels(case: Case) -> int | None:
    """By the header; None where only reading the file tells, or the file will be refused anyway."""
    path = case.images[0].path
    if split_ending(path)[1] not in NIFTI_ENDINGS:
        return None
    try:
        return math.prod(read_nifti_header(path).geometry.shape)
    except (MedsegError, OSError):
        return None
