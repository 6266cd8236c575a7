"""Cases that hold the same scan: in training and in validation of one fold they would make scores too good."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError
from medseg.core.geometry import Geometry, match_axes
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.scan import thin_scan
from medseg.grids.crop import find_box

# Masks of fewer voxels may well be alike by chance.
FEWEST_VOXELS = 30

# The patient's right, front and head: every scan is turned to these before it is compared.
PATIENT = "RAS"

# Whether two cases hold the same voxels in every channel, found by reading both.
Compare = Callable[[Case, Case], bool]


@dataclass(frozen=True)
class Sketch:
    """What tells whether two cases may hold the same.

    Args:
        scan: a hash of the image's shape and of some of its voxels, in the patient's directions.
        mask: a hash of the mask's labelled voxels and their place; empty for a mask of next to none.
        share: of the image's voxels, how many the mask labels, 0 to 1.
    """

    scan: bytes
    mask: bytes
    share: float = 0.0


def sketch_case(volume: Volume, segmentation: Segmentation) -> Sketch:
    """A case's sketch: the same for the same scan, however its file turns the axes, types or compresses the values.

    Args:
        volume: its image, (channel, i, j, k).
        segmentation: its mask on the same grid.
    Returns:
        the sketch; unequal ones belong to unequal scans, equal ones to scans that ``find_equal_scans`` compares.
    """
    scan = turn_to_patient(volume.array, volume.geometry)
    start, stop = find_box(segmentation.array)
    box = segmentation.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    mask = b""
    count = int(np.count_nonzero(box))
    if count >= FEWEST_VOXELS:
        # Where the box lies tells masks apart as well as what it holds.
        order, flips = match_axes(segmentation.geometry.orientation, PATIENT)
        ends = zip(start, stop, segmentation.array.shape, strict=True)
        places = [(first, size - last) for first, last, size in ends]
        place = [places[axis][::-1] if flip else places[axis] for axis, flip in zip(order, flips, strict=True)]
        mask = _hash(turn_to_patient(box[None], segmentation.geometry).astype(np.uint16), place)
    return Sketch(_hash(thin_scan(scan)[0].astype(np.float32), scan.shape), mask, count / segmentation.array.size)


def turn_to_patient(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """A view of (channel, i, j, k) whose axes run to the patient's right, front and head as nearly as the grid's do."""
    order, flips = match_axes(geometry.orientation, PATIENT)
    turned = array.transpose(0, *(axis + 1 for axis in order))
    view: NDArray[Any] = np.flip(turned, tuple(axis + 1 for axis in range(3) if flips[axis]))
    return view


def _hash(array: NDArray[Any], about: object) -> bytes:
    return hashlib.sha256(repr(about).encode() + array.tobytes()).digest()


def find_equal_scans(cases: Iterable[Case], sketches: Mapping[str, Sketch], compare: Compare) -> list[tuple[Case, ...]]:
    """Groups of cases with the same image.

    Args:
        cases: in the order of their names.
        sketches: of these cases, by name.
        compare: decides about cases whose sketches are equal.
    Returns:
        the groups, of two cases or more; empty where every scan is another.
    """
    groups: dict[bytes, list[list[Case]]] = {}
    for case in cases:
        alike = groups.setdefault(sketches[case.name].scan, [])
        home = next((group for group in alike if compare(group[0], case)), None)
        if home is None:
            alike.append([case])
        else:
            home.append(case)
    return [tuple(group) for alike in groups.values() for group in alike if len(group) > 1]


def refuse_equal_scans(groups: Iterable[Sequence[Case]], sketches: Mapping[str, Sketch]) -> dict[str, DatasetError]:
    """The cases that must not be used because another patient's case holds the same scan.

    Args:
        groups: as ``find_equal_scans`` gives them.
        sketches: of their cases, by name.
    Returns:
        case to problem: of a group with one mask all cases but those of the first one's patient; of a group with
        different masks all, as nobody knows which is right; none of a group that belongs to one patient, as folds keep
        a patient together.
    """
    problems = {}
    for group in groups:
        first = group[0]
        if len({case.patient for case in group}) == 1:
            continue
        differ = len({sketches[case.name].mask for case in group}) > 1
        for case in group:
            if not differ and case.patient == first.patient:
                continue
            other = group[1] if case is first else first
            problems[case.name] = DatasetError(
                f"its image is that of {other.name}, voxel for voxel"
                + (", but their masks differ" if differ else "")
                + ": as two patients they would stand in training and in validation",
                code="equal_scans",
                case=case.name,
                file=case.images[0].path,
                remedy="Remove one, or use both as one patient: --keep-equal-scans, or the same patient in cases.csv",
            )
    return problems


def join_patients(cases: Sequence[Case], groups: Iterable[Sequence[Case]]) -> tuple[tuple[Case, ...], list[str]]:
    """Make one patient of those who share a scan, so that folds keep all of their cases together.

    Args:
        cases: all cases.
        groups: those that hold the same scan.
    Returns:
        the cases, and a line for each group that says which patient they count as.
    """
    owners = {case.patient: case.patient for case in cases}
    notes = []
    for group in groups:
        chosen = owners[group[0].patient]
        joined = {owners[case.patient] for case in group}
        owners = {patient: chosen if owner in joined else owner for patient, owner in owners.items()}
        names = " and ".join(case.name for case in group)
        notes.append(f"{names} hold the same scan; they count as scans of one patient, {chosen}")
    return tuple(replace(case, patient=owners[case.patient]) for case in cases), notes


def find_equal_masks(cases: Sequence[Case], sketches: Mapping[str, Sketch]) -> list[DatasetError]:
    """Warnings for cases of different patients whose images differ and whose masks, not empty, are the same.

    Args:
        cases: in the order of their names.
        sketches: of these cases, by name.
    Returns:
        a warning for each case but the first one of a group.
    """
    first: dict[bytes, Case] = {}
    warnings = []
    for case in cases:
        sketch = sketches[case.name]
        other = first.setdefault(sketch.mask, case) if sketch.mask else case
        if other.patient == case.patient or sketches[other.name].scan == sketch.scan:
            continue
        warnings.append(
            DatasetError(
                f"its mask is that of {other.name}, voxel for voxel, but their images differ",
                code="equal_masks",
                case=case.name,
                file=case.mask.path if case.mask else None,
                remedy="Check that each mask was drawn on its own image",
            )
        )
    return warnings
