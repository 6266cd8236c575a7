"""Lesions of a new mask that go on from a patient's earlier masks keep their names and identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement
from medseg.core.volume import Segmentation, Volume

if TYPE_CHECKING:
    from medseg.io.dicom.earlier import NamedLesions
    from medseg.io.dicom.segments import TrackedLesion
    from medseg.measurement.longitudinal.bodies import Bodies
    from medseg.measurement.longitudinal.matching import Course
    from medseg.measurement.longitudinal.placing import Placement

_ANY = "any label"


@dataclass(frozen=True, eq=False)
class EarlierScan:
    """What is known of a patient's earlier scan.

    Args:
        name: of its mask's file, for messages.
        lesions: its lesions by label.
        read_image: reads the scan that they were drawn on; None where nobody knows where it is.
    """

    name: str
    lesions: Mapping[str, NamedLesions]
    read_image: Callable[[], Volume] | None = None


@dataclass
class LesionNames:
    """How the lesions of a new mask are called.

    Args:
        lesions: the name and identifier of each; labels that no earlier mask has are left out.
        notes: what was found again and what was not, a sentence each.
    """

    lesions: list[TrackedLesion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def name_lesions(
    mask: Segmentation, labels: LabelScheme, image: Volume, earlier: Sequence[EarlierScan], owner: Sequence[str]
) -> LesionNames:
    """Name the lesions of a mask after those of earlier masks of the same patient.

    Lesions are matched as ``measure --timeline`` matches them: each earlier scan is brought to the new one, by images
    where the earlier one is at hand, else by masks; a component goes on from the lesion that it shares most with.

    Args:
        mask: the new mask.
        labels: what its values mean.
        image: the scan that it was drawn on, one channel.
        earlier: the patient's earlier scans, the earliest first.
        owner: what tells the scan from all others, for identifiers of lesions that are new.
    Returns:
        the names. The largest part of a lesion that has split keeps its name, lesions that have merged go on as the
        first one of them; both are said.
    """
    from medseg.measurement.longitudinal.placing import PatientScan, place_scan

    found = LesionNames()
    fixed = PatientScan(_unite(mask, [labels.mask(mask.array, name) for name in labels.names]), lambda: image)
    placed: list[tuple[EarlierScan, Placement]] = []
    for scan in earlier:
        drawn = list(scan.lesions.values())
        united = _unite(drawn[0].numbers, [lesions.numbers.array != 0 for lesions in drawn])
        placement = place_scan(fixed, PatientScan(united, scan.read_image), LabelScheme.make({_ANY: 1}))
        if not placement.is_known:
            found.notes.append(f"lesions do not go on from {scan.name}, which cannot be placed: {placement.reason}")
            continue
        if scan.read_image is None:
            found.notes.append(f"{scan.name}: its scan is not at hand, so that lesions are found again by masks alone")
        if placement.method != "not_registered":
            found.notes += (f"{scan.name}: {warning}" for warning in placement.warnings)
        placed.append((scan, placement))
    for label in labels.names:
        own = [(scan, placement) for scan, placement in placed if label in scan.lesions]
        if own:
            _name_label(label, labels.mask(mask.array, label), mask, own, owner, found)
    return found


def _unite(like: Segmentation, masks: Sequence[NDArray[np.bool_]]) -> Segmentation:
    return Segmentation(np.logical_or.reduce(masks).astype(np.uint8), like.geometry)


def _name_label(
    label: str,
    inside: NDArray[np.bool_],
    mask: Segmentation,
    earlier: Sequence[tuple[EarlierScan, Placement]],
    owner: Sequence[str],
    found: LesionNames,
) -> None:
    from medseg.io.dicom.segments import TrackedLesion
    from medseg.io.dicom.uids import derive_uid
    from medseg.measurement.longitudinal.matching import match_scans

    parts = [(_unite(scan.lesions[label].numbers, [scan.lesions[label].numbers.array != 0]), placement.matrix)
             for scan, placement in earlier]  # fmt: skip
    parts.append((_unite(mask, [inside]), np.eye(4)))
    bodies = [_find_bodies(part, label, matrix) for part, matrix in parts]
    lesions = [scan.lesions[label] for scan, _ in earlier]
    known = {name for own in lesions for name, _ in own.names.values()}
    known |= {lesion.lesion_id for lesion in found.lesions}
    taken: dict[int, tuple[str, str]] = {}
    gone = []
    for course in match_scans(bodies):
        name, uid = _identify(course, bodies, lesions) or ("", "")
        here = course.sightings[-1]
        if name and not here:
            gone.append(name)
        for place, instance in enumerate(here if name else ()):
            if instance in taken:
                found.notes.append(f"{name} has merged with {taken[instance][0]}, which goes on")
            elif place or uid in [other for _, other in taken.values()]:
                part = _number(f"{name}, part", known)
                taken[instance] = (part, derive_uid("lesion of a scan", *owner, part))
                found.notes.append(f"{name} has split: its largest part keeps the name, another is {part}")
            else:
                others = {lesion.lesion_id for lesion in found.lesions} | {other for other, _ in taken.values()}
                taken[instance] = (_number(name, known) if name in others else name, uid)
    count = len(bodies[-1].found)
    old = {uid for own in lesions for _, uid in own.names.values()}
    kept = sum(uid in old for _, uid in taken.values())
    for instance in range(1, count + 1):
        if instance not in taken:
            name = _number(label, known)
            taken[instance] = (name, derive_uid("lesion of a scan", *owner, name))
    found.lesions += (TrackedLesion(label, instance, *taken[instance]) for instance in sorted(taken))
    last = earlier[-1][0].name
    found.notes.append(
        f"{label}: {kept} of {count} lesions go on from earlier masks, the last of them {last}"
        + (f"; gone: {', '.join(gone)}" if gone else "")
    )


def _find_bodies(part: Segmentation, label: str, matrix: NDArray[np.float64]) -> Bodies:
    from medseg.measurement import measure_case
    from medseg.measurement.longitudinal.bodies import find_bodies

    scheme = LabelScheme.make({label: 1})
    table: dict[tuple[str, int], dict[str, Measurement]] = {}
    for row in measure_case(part, scheme, case="earlier"):
        table.setdefault((row.label, row.instance), {}).setdefault(row.quantity, row)
    return find_bodies(part, label, scheme, table, matrix)


def _identify(course: Course, bodies: Sequence[Bodies], lesions: Sequence[NamedLesions]) -> tuple[str, str] | None:
    """The name and identifier that a lesion had when it was last seen before the new scan; None for a new one."""
    seen = [(number, there) for number, there in enumerate(course.sightings[:-1]) if there]
    if not seen:
        return None
    number, there = seen[-1]
    body, painted = bodies[number], lesions[number]
    box = tuple(slice(start, start + size) for start, size in zip(body.start, body.numbers.shape, strict=True))
    segments = painted.numbers.array[box][body.numbers == there[0]]
    return painted.names[int(np.bincount(segments[segments != 0]).argmax())]


def _number(stem: str, known: set[str]) -> str:
    """A name that no lesion has had, with the number after the largest one; it is known from then on."""
    pattern = re.compile(re.escape(stem) + r"[- ]([0-9]{1,9})")
    numbers = [int(match.group(1)) for name in known if (match := pattern.fullmatch(name))]
    name = f"{stem}-{max(numbers, default=0) + 1}"
    known.add(name)
    return name
