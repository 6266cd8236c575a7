"""A label's lesions through all scans of a patient: which are one, what each became, and what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medseg.measurement.longitudinal.bodies import Bodies, Body
from medseg.measurement.longitudinal.growth import COVERAGE, name_change
from medseg.measurement.longitudinal.matching import LEAST_OVERLAP, Course, Overlaps


@dataclass(frozen=True)
class LabelCourse:
    """A label's lesions in all scans of a patient.

    Args:
        patient, label: whose and which.
        days: of each scan.
        scans: the components of each scan.
        courses: the lesions.
        names: their ids.
        overlaps: of two scans.
    """

    patient: str
    label: str
    days: Sequence[int | None]
    scans: Sequence[Bodies]
    courses: Sequence[Course]
    names: Sequence[str]
    overlaps: Overlaps

    def bodies(self, lesions: Sequence[int], scan: int) -> list[Body]:
        """The components that some lesions have in a scan, each once."""
        instances = {instance for lesion in lesions for instance in self.courses[lesion].sightings[scan]}
        return [self.scans[scan].found[instance - 1] for instance in sorted(instances)]

    def kin(self, lesion: int, *scans: int) -> tuple[int, ...]:
        """The lesions that are one with ``lesion`` in any of these scans, itself included."""
        family = {lesion}
        while True:
            held = [{n for member in family for n in self.courses[member].sightings[scan]} for scan in scans]
            wider = {
                other
                for other, course in enumerate(self.courses)
                if other in family
                or any(not own.isdisjoint(course.sightings[scan]) for own, scan in zip(held, scans, strict=True))
            }
            if wider == family:
                return tuple(sorted(family))
            family = wider


def name_references(course: LabelCourse, lesion: int, scan: int) -> dict[int, tuple[str, ...]]:
    """The scans that a lesion is compared with: the first, the one of its smallest volume, and the one before.

    Args:
        course: the label's lesions.
        lesion: which of them.
        scan: the later scan, from 1.
    Returns:
        scan numbers, rising, with what each is: ``baseline``, ``nadir``, ``previous``. The smallest volume (nadir) is
        looked for from the lesion's first appearance on; of equal ones the latest counts.
    """
    family = course.kin(lesion, scan)
    seen = [n for n in range(scan) if course.bodies(family, n)]
    volumes = {
        n: sum(body.volume_ml for body in course.bodies(family, n)) for n in range(min(seen, default=scan), scan)
    }
    return gather_references(volumes, scan)


def gather_references(volumes: Mapping[int, float], scan: int) -> dict[int, tuple[str, ...]]:
    """By scan number what an earlier scan is to a later one: ``baseline``, ``nadir``, ``previous``.

    Args:
        volumes: by scan number, of those among which the nadir is.
        scan: the later one's number.
    Returns:
        rising by scan number.
    """
    named: dict[int, tuple[str, ...]] = {0: ("baseline",)}
    if volumes:
        nadir = min(volumes, key=lambda n: (volumes[n], -n))
        named[nadir] = (*named.get(nadir, ()), "nadir")
    named[scan - 1] = (*named.get(scan - 1, ()), "previous")
    return dict(sorted(named.items()))


def name_step(course: LabelCourse, lesion: int, scan: int) -> str:
    """How a lesion changed since the scan before, a word of ``Change.change``; empty in the first, or if in neither."""
    if not scan or not any(course.courses[lesion].sightings[n] for n in (scan - 1, scan)):
        return ""
    return name_pair(course, course.kin(lesion, scan - 1, scan), scan - 1, scan)


def bound_label(bodies: Bodies) -> tuple[float | None, float | None]:
    """The error bar of a label's volume in one scan: its own, else those of its lesions added up; None if unknown."""
    low, high = bodies.interval_ml
    known = bodies.found and low is not None and high is not None
    return (low, high) if known else add_intervals(bodies.found)


def add_intervals(bodies: Sequence[Body]) -> tuple[float | None, float | None]:
    """The error bar of several components' volume, their own ones added up.

    Args:
        bodies: of one scan.
    Returns:
        lowest and highest volume, millilitres; None where one is not known, and for no component: whether a lesion was
        missed is nothing that the errors of volumes tell.
    """
    if not bodies:
        return None, None
    lows, highs = [body.interval_ml[0] for body in bodies], [body.interval_ml[1] for body in bodies]
    low = None if None in lows else sum(value for value in lows if value is not None)
    return low, None if None in highs else sum(value for value in highs if value is not None)


def name_pair(course: LabelCourse, family: Sequence[int], earlier: int, later: int) -> str:
    """How a family of lesions changed from one scan to a later one: a word of ``Change.change``."""
    before, after = course.bodies(family, earlier), course.bodies(family, later)
    if before and after:
        merged, split = _count_joints(course, family, earlier, later)
        if merged or split:
            return "merged" if merged >= split else "split"
    first, second = (sum(body.volume_ml for body in bodies) for bodies in (before, after))
    return name_change(first, second, add_errors([*before, *after]))


def _count_joints(course: LabelCourse, family: Sequence[int], earlier: int, later: int) -> tuple[int, int]:
    # How many components come together from several, and how many fall into several.
    before, after = ([body.instance - 1 for body in course.bodies(family, scan)] for scan in (earlier, later))
    shared = course.overlaps(earlier, later)[before][:, after]
    sizes = [
        [course.scans[scan].found[n].volume_ml for n in found] for scan, found in ((earlier, before), (later, after))
    ]
    linked = shared > 0
    for row in range(len(before)):
        for column in range(len(after)):
            linked[row, column] &= shared[row, column] >= LEAST_OVERLAP * min(sizes[0][row], sizes[1][column])
    apart = [len({course.courses[n].sightings[scan] for n in family} - {()}) for scan in (earlier, later)]
    merged = int((linked.sum(axis=0) > 1).sum()) + (apart[0] > apart[1] > 0)
    return merged, int((linked.sum(axis=1) > 1).sum()) + (apart[1] > apart[0] > 0)


def add_errors(bodies: Sequence[Body]) -> float:
    """Below this a difference may come from where the voxels lie: 95 % of the counting errors together, millilitres."""
    return COVERAGE * math.sqrt(sum(body.error_ml**2 for body in bodies))
