"""Which components of a patient's scans are the same lesion: ids that stay from the first scan to the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.measurement.longitudinal.bodies import Bodies, measure_overlaps

# Two components are the same lesion where they share at least this part of the smaller one. Our choice: neighbours
# that graze one another after registration share less, a lesion inside its own larger or smaller self shares all.
LEAST_OVERLAP = 0.25
# A lesion of a few voxels may miss its own earlier place by what a rigid registration leaves over, about 2 mm in
# organs that move with breathing and shape (our choice), and by half a voxel of either grid.
REGISTRATION_SLACK_MM = 2.0


@dataclass(eq=False)
class Course:
    """One lesion through all scans.

    Args:
        sightings: by scan the components that it has there, () where it is absent; several after it has split. Lesions
            that have merged hold the same components.
        own: the last scan and components that it had for itself; where it is looked for in later scans.
    """

    sightings: list[tuple[int, ...]]
    own: tuple[int, tuple[int, ...]] = field(default=(0, ()))

    @property
    def last(self) -> tuple[int, tuple[int, ...]]:
        """The last scan in which it is present, and its components there."""
        return next((n, seen) for n, seen in reversed(list(enumerate(self.sightings))) if seen)


Overlaps = Callable[[int, int], NDArray[np.float64]]


def make_overlaps(scans: Sequence[Bodies]) -> Overlaps:
    """A function that gives ``measure_overlaps`` of two scans by their numbers and remembers the answers."""
    known: dict[tuple[int, int], NDArray[np.float64]] = {}

    def overlaps(first: int, second: int) -> NDArray[np.float64]:
        if (first, second) not in known:
            known[first, second] = measure_overlaps(scans[first], scans[second])
        return known[first, second]

    return overlaps


def match_scans(scans: Sequence[Bodies], overlaps: Overlaps | None = None) -> list[Course]:
    """Follow the lesions of one label through all scans of a patient.

    Each scan's components are compared with the place where each lesion was last seen for itself, however long ago, so
    that a lesion that was gone or merged for a while gets its id back. A component joins the lesion that it shares most
    with, a lesion the component that it shares most with: several components in one lesion mean that it has split,
    several lesions in one component that they have merged. What is left over is matched to the nearest left-over
    lesion within reach, each to the other's nearest.

    Args:
        scans: the label in each scan, earliest first.
        overlaps: of two of them; measured where None.
    Returns:
        the lesions in the order of their appearance, those of one scan largest first.
    """
    overlaps = overlaps or make_overlaps(scans)
    courses: list[Course] = []
    for number, bodies in enumerate(scans):
        groups = _group(courses, number, scans, overlaps)
        taken = {instance for _, instances in groups for instance in instances}
        for course in courses:
            course.sightings.append(())
        for lesions, instances in groups:
            for lesion in lesions:
                courses[lesion].sightings[number] = instances
                if len(lesions) == 1:
                    courses[lesion].own = (number, instances)
        courses += [
            Course([()] * number + [(body.instance,)], (number, (body.instance,)))
            for body in bodies.found
            if body.instance not in taken
        ]
    return courses


def _group(
    courses: Sequence[Course], number: int, scans: Sequence[Bodies], overlaps: Overlaps
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    # Lesions and the components of one scan that belong together, each group (lesions, instances).
    bodies = scans[number]
    if not courses or not bodies.found:
        return []
    edges = _choose_edges(_share_places([course.own for course in courses], number, scans, overlaps))
    lone = sorted(set(range(len(bodies.found))) - {component for _, component in edges})
    if lone:  # a merged lesion may have left the places of its parts
        later = _share_places([course.last for course in courses], number, scans, overlaps)[:, lone]
        edges |= {
            (int(np.argmax(later[:, place])), lone[place]) for place in range(len(lone)) if later[:, place].max() > 0
        }
    edges |= _find_nearest(courses, edges, number, scans)
    return _join(edges)


def _share_places(
    places: Sequence[tuple[int, tuple[int, ...]]], number: int, scans: Sequence[Bodies], overlaps: Overlaps
) -> NDArray[np.float64]:
    # The volume that each place shares with each component of a scan, (place, component); 0 where it is too little.
    volumes = np.array([body.volume_ml for body in scans[number].found])
    shared = np.zeros((len(places), len(volumes)))
    for row, (scan, instances) in zip(shared, places, strict=True):
        row[:] = overlaps(scan, number)[[instance - 1 for instance in instances]].sum(axis=0)
        size = sum(scans[scan].found[instance - 1].volume_ml for instance in instances)
        row[row < LEAST_OVERLAP * np.minimum(size, volumes)] = 0
    return shared


def _choose_edges(shared: NDArray[np.float64]) -> set[tuple[int, int]]:
    # Each component's first choice among the lesions, and each lesion's among the components.
    edges = {(int(lesion), component) for component, lesion in enumerate(shared.argmax(axis=0))}
    edges |= {(lesion, int(component)) for lesion, component in enumerate(shared.argmax(axis=1))}
    return {edge for edge in edges if shared[edge] > 0}


def _find_nearest(
    courses: Sequence[Course], edges: set[tuple[int, int]], number: int, scans: Sequence[Bodies]
) -> set[tuple[int, int]]:
    # Left-over lesions and components that are each other's nearest, within reach.
    lesions = sorted(set(range(len(courses))) - {lesion for lesion, _ in edges})
    components = sorted(set(range(len(scans[number].found))) - {component for _, component in edges})
    if not lesions or not components:
        return set()
    gaps = np.array([[_measure_gap(courses[a].own, b, number, scans) for b in components] for a in lesions])
    found = set()
    for row, lesion in enumerate(lesions):
        column = int(gaps[row].argmin())
        reach = _measure_reach(scans[courses[lesion].own[0]].geometry) + _measure_reach(scans[number].geometry)
        if gaps[row, column] <= reach + REGISTRATION_SLACK_MM and int(gaps[:, column].argmin()) == row:
            found.add((lesion, components[column]))
    return found


def _measure_gap(place: tuple[int, tuple[int, ...]], component: int, number: int, scans: Sequence[Bodies]) -> float:
    from scipy.spatial import KDTree

    scan, instances = place
    there = np.concatenate([scans[scan].found[instance - 1].points_mm for instance in instances])
    here = scans[number].found[component].points_mm
    tree = KDTree(there)  # type: ignore[no-untyped-call]
    return float(tree.query(here)[0].min())  # type: ignore[no-untyped-call]


def _measure_reach(geometry: Geometry) -> float:
    # Half a voxel's longest diagonal.
    corners = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]]) @ geometry.affine[:3, :3].T
    return float(np.linalg.norm(corners, axis=1).max() / 2)


def _join(edges: set[tuple[int, int]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    # The connected groups of lesions and components; instances count from 1.
    groups: list[tuple[set[int], set[int]]] = []
    for lesion, component in sorted(edges):
        touching = [group for group in groups if lesion in group[0] or component in group[1]]
        groups = [group for group in groups if group not in touching]
        lesions = {lesion}.union(*(group[0] for group in touching))
        components = {component}.union(*(group[1] for group in touching))
        groups.append((lesions, components))
    return [
        (tuple(sorted(lesions)), tuple(component + 1 for component in sorted(components)))
        for lesions, components in groups
    ]
