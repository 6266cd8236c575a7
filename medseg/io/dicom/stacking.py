"""How the planes of one volume lie behind one another, by their positions along the normal and by nothing else.

Slice thickness, slice location, the stated distance between slices and instance numbers are not asked: in real files
each of them contradicts the positions now and then.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.io.dicom.headers import FrameHeader, Place

# Positions are written with two decimals by some scanners; two planes that lie closer are at one place, unless all lie
# as close: then it is this share of their mean distance.
SAME_PLACE_MM = 0.01
SAME_PLACE_SHARE = 0.05
# A plane may lie off the even grid by this share of the distance between planes, and by the rounding of two decimals as
# far as that is no more than the second share: a rounded header, no other place.
LARGEST_UNEVENNESS = 0.02
LARGEST_ROUNDING = 0.1
# Fewer planes are always evenly spaced, so that their distance proves nothing.
FEWEST_PLANES = 3
# Two planes are taken for neighbours where their distance is their stated thickness, give or take this share.
NEIGHBOUR_TOLERANCE = 0.5
# In-plane: how far, in voxels, planes may lie off a straight pile before they count as shifted or tilted.
LARGEST_SHIFT_VOXELS = 0.1
# Cosines of three decimals may be off by this, in radians.
LARGEST_ROUNDED_TURN = 1e-3
# A gap is one of whole planes where its width is a multiple of the distance between planes, give or take this share.
WHOLE_GAP_TOLERANCE = 0.1
# Directions as headers round them; beyond, they are no directions at right angles.
DIRECTION_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Stack:
    """The planes of one volume in the order in which they lie.

    Args:
        planes: sorted along the normal.
        axes: unit vectors along a row, down the rows and along the normal, a row each, in LPS.
        distances_mm: of each plane from the first, along the normal.
        offsets_mm: (plane, 2), how far each plane's first voxel lies sideways of the first plane's, along a row and
            down the rows.
        step_mm: how far neighbours are apart: most of them, where not all are equal.
        pixel_mm: between columns, then between rows.
    """

    planes: tuple[FrameHeader, ...]
    axes: NDArray[np.float64]
    distances_mm: NDArray[np.float64]
    offsets_mm: NDArray[np.float64]
    step_mm: float
    pixel_mm: tuple[float, float]

    @property
    def tilt_degrees(self) -> float:
        """How far the pile of planes leans off their normal; 0 where it stands upright within a tenth of a voxel."""
        if len(self.planes) < 2 or self.distances_mm[-1] == 0:
            return 0.0
        drift = self.offsets_mm[-1]
        if np.all(np.abs(drift) <= LARGEST_SHIFT_VOXELS * np.asarray(self.pixel_mm)):
            return 0.0
        return math.degrees(math.atan2(float(np.hypot(*drift)), float(self.distances_mm[-1])))


def place_of(plane: FrameHeader) -> Place:
    """Where a plane lies; raises GeometryError where its header does not say."""
    if plane.place is None:
        raise GeometryError(
            "it states no position, orientation or spacing", code="no_place", file=plane.path,
            remedy="Export the series again with its geometry",
        )  # fmt: skip
    return plane.place


def read_axes(plane: FrameHeader) -> NDArray[np.float64]:
    """Unit vectors along a row, down the rows and along the normal, a row each, in LPS.

    Args:
        plane: with a place.
    Returns:
        (3, 3), at right angles.
    Raises:
        GeometryError: the stated directions are none, or not at right angles.
    """
    place = place_of(plane)
    along, down = np.asarray(place.orientation[:3]), np.asarray(place.orientation[3:])
    lengths = np.array([np.linalg.norm(along), np.linalg.norm(down)])
    if np.any(np.abs(lengths - 1) > DIRECTION_TOLERANCE) or abs(float(along @ down)) > DIRECTION_TOLERANCE:
        stated = ", ".join(f"{value:.4g}" for value in place.orientation)
        raise GeometryError(
            f"the orientation is ({stated}), expected two unit vectors at right angles", code="bad_orientation",
            file=plane.path, remedy="Export the series again, or correct the header",
        )  # fmt: skip
    along = along / lengths[0]
    # What rounding left of an angle is taken from the second direction.
    down = down - (down @ along) * along
    down /= np.linalg.norm(down)
    return np.stack([along, down, np.cross(along, down)])


def measure_distances(planes: Sequence[FrameHeader]) -> NDArray[np.float64]:
    """How far each plane lies along the first one's normal, from the world's origin, in millimetres."""
    normal = read_axes(planes[0])[2]
    distances: NDArray[np.float64] = np.array([place_of(plane).position_mm for plane in planes]) @ normal
    return distances


def find_same_place_mm(distances_mm: NDArray[np.float64]) -> float:
    """How close two of these planes lie that are at one place.

    Args:
        distances_mm: of planes along their normal, in any order.
    Returns:
        millimetres.
    """
    mean_step = float(np.ptp(distances_mm)) / max(len(distances_mm) - 1, 1)
    return min(SAME_PLACE_MM, SAME_PLACE_SHARE * mean_step)


def lay_out(planes: Sequence[FrameHeader]) -> Stack:
    """The planes of one volume in order, measured.

    Args:
        planes: of one orientation, size and spacing; at least one.
    Returns:
        the stack, even or not.
    Raises:
        GeometryError: a plane has no place or no orientation.
    """
    typical = _find_typical(planes)
    positions = np.array([place_of(plane).position_mm for plane in planes])
    axes = _settle_axes(read_axes(typical), positions, place_of(typical).spacing_mm)
    places = positions @ axes.T
    order = np.argsort(places[:, 2], kind="stable")
    places = places[order] - places[order[0]]
    steps = np.sort(np.diff(places[:, 2]))
    apart = steps[steps > find_same_place_mm(places[:, 2])]
    step = float(apart[(len(apart) - 1) // 2]) if len(apart) else _guess_step(planes[0])
    rows_mm, columns_mm = place_of(typical).spacing_mm
    return Stack(
        tuple(planes[index] for index in order), axes, places[:, 2], places[:, :2], step, (columns_mm, rows_mm)
    )


def _settle_axes(
    axes: NDArray[np.float64], positions: NDArray[np.float64], spacing_mm: tuple[float, float]
) -> NDArray[np.float64]:
    """Axes turned onto the line of the positions where they miss it by no more than cosines of three decimals do.

    Over hundreds of slices such a turn adds up to what looks like a leaning pile; no gantry tilts by so little.
    """
    distances = positions @ axes[2]
    whole = positions[np.argmax(distances)] - positions[np.argmin(distances)]
    sideways = np.abs(axes[:2] @ whole)
    if np.all(sideways <= LARGEST_SHIFT_VOXELS * np.asarray(spacing_mm[::-1])):
        return axes
    if np.hypot(*sideways) > LARGEST_ROUNDED_TURN * np.ptp(distances):
        return axes
    normal = whole / np.linalg.norm(whole)
    along = axes[0] - (axes[0] @ normal) * normal
    along /= np.linalg.norm(along)
    return np.stack([along, np.cross(normal, along), normal])


def _find_typical(planes: Sequence[FrameHeader]) -> FrameHeader:
    """The first plane of those that agree exactly in orientation and spacing, of which there are most."""
    stated = [(place_of(plane).orientation, place_of(plane).spacing_mm) for plane in planes]
    return planes[stated.index(Counter(stated).most_common(1)[0][0])]


def _guess_step(plane: FrameHeader) -> float:
    """A single plane's extent along its normal: its thickness, else that of an isotropic voxel."""
    place = place_of(plane)
    return place.thickness_mm if place.thickness_mm and place.thickness_mm > 0 else min(place.spacing_mm)


def find_fault(stack: Stack) -> GeometryError | None:
    """Why the planes are no even grid; None where they are, leaning or not.

    Args:
        stack: as it was laid out.
    Returns:
        an error that names two planes and millimetres: two planes at one place, a missing slice, varying distances, or
        planes that lie sideways of the others.
    """
    return _find_repeat(stack) or _find_gap(stack) or _find_shift(stack)


def find_doubt(stack: Stack) -> GeometryError | None:
    """Why two planes cannot be taken for neighbours: nothing says that none is missing between them.

    Args:
        stack: as it was laid out.
    Returns:
        an error; None for a single plane, for three and more, and for two that lie as far apart as they are thick.
    """
    if len(stack.planes) != FEWEST_PLANES - 1:
        return None
    thickness = place_of(stack.planes[0]).thickness_mm
    if thickness is not None and abs(stack.step_mm - thickness) <= NEIGHBOUR_TOLERANCE * thickness:
        return None
    stated = "no thickness is stated" if thickness is None else f"they are {thickness:.4g} mm thick"
    return GeometryError(
        f"2 slices {stack.step_mm:.4g} mm apart, expected at least {FEWEST_PLANES}: {stated}, so that slices may be"
        " missing between them",
        code="too_few_slices", file=stack.planes[0].path, remedy="Fetch the whole series",
    )  # fmt: skip


def _find_repeat(stack: Stack) -> GeometryError | None:
    steps = np.diff(stack.distances_mm)
    close = np.flatnonzero(steps <= find_same_place_mm(stack.distances_mm))
    if not len(close):
        return None
    first, second = stack.planes[close[0]], stack.planes[close[0] + 1]
    more = f" ({len(close)} such pairs)" if len(close) > 1 else ""
    return GeometryError(
        f"two slices at one position: {second.label} lies {steps[close[0]]:.3g} mm from {first.label}{more},"
        f" expected {stack.step_mm:.4g} mm, and nothing in their headers tells two volumes apart",
        code="same_position", file=first.path, remedy="Keep one of them, or give each volume a series of its own",
    )  # fmt: skip


def _find_gap(stack: Stack) -> GeometryError | None:
    if len(stack.planes) < 3:
        return None
    steps = np.diff(stack.distances_mm)
    even = np.linspace(0, stack.distances_mm[-1], len(stack.planes))
    tolerance = max(LARGEST_UNEVENNESS * stack.step_mm, min(SAME_PLACE_MM, LARGEST_ROUNDING * stack.step_mm))
    if np.all(np.abs(stack.distances_mm - even) <= tolerance):
        return None
    ratios = steps / stack.step_mm
    whole = np.abs(ratios - np.round(ratios)) <= WHOLE_GAP_TOLERANCE
    wide = np.flatnonzero(np.round(ratios) > 1)
    remedy = "Fetch the series again, or fill it with --gaps interpolate"
    if np.all(whole) and len(wide):
        missing = int(np.sum(np.round(ratios[wide]) - 1))
        first, second = stack.planes[wide[0]], stack.planes[wide[0] + 1]
        return GeometryError(
            f"{missing} slice{'s are' if missing > 1 else ' is'} missing: between {first.label} and"
            f" {second.label} lie {steps[wide[0]]:.4g} mm, expected {stack.step_mm:.4g} mm",
            code="missing_slice", file=first.path, remedy=remedy,
        )  # fmt: skip
    worst = int(np.argmax(np.abs(steps - stack.step_mm)))
    first, second = stack.planes[worst], stack.planes[worst + 1]
    return GeometryError(
        f"the distance between slices varies from {steps.min():.4g} to {steps.max():.4g} mm: between {first.label}"
        f" and {second.label} lie {steps[worst]:.4g} mm, expected {stack.step_mm:.4g} mm",
        code="varying_spacing", file=first.path,
        remedy="Use the series as it was reconstructed evenly, or resample it with --gaps interpolate",
    )  # fmt: skip


def _find_shift(stack: Stack) -> GeometryError | None:
    """Planes that lie sideways of a straight pile, upright or leaning."""
    if len(stack.planes) < 3:
        return None
    share = stack.distances_mm / stack.distances_mm[-1]
    off = np.abs(stack.offsets_mm - share[:, None] * stack.offsets_mm[-1])
    beyond = off > LARGEST_SHIFT_VOXELS * np.asarray(stack.pixel_mm)
    if not np.any(beyond):
        return None
    worst = int(np.argmax(off.max(axis=1)))
    return GeometryError(
        f"the slice {stack.planes[worst].label} lies {off[worst].max():.4g} mm sideways of the others' pile,"
        f" expected at most {LARGEST_SHIFT_VOXELS * min(stack.pixel_mm):.3g} mm",
        code="shifted_slice", file=stack.planes[worst].path,
        remedy="The series mixes positions of the table or of the patient; export it again, or part by part",
    )  # fmt: skip


def make_geometry(stack: Stack) -> Geometry:
    """The grid of an even stack: i along a row, j down the rows, k from plane to plane; leaning where the pile leans.

    Args:
        stack: without fault.
    Returns:
        the geometry in RAS+.
    """
    count = len(stack.planes)
    first = stack.planes[0]
    along, down, normal = stack.axes
    step = normal * stack.step_mm
    if count > 1:
        step = normal * stack.distances_mm[-1] / (count - 1)
        if stack.tilt_degrees:
            drift = stack.offsets_mm[-1] / (count - 1)
            step = step + drift[0] * along + drift[1] * down
    assert first.pixels is not None
    shape = (first.pixels.columns, first.pixels.rows, count)
    columns_mm, rows_mm = stack.pixel_mm
    return build_geometry(
        shape, np.stack([along * columns_mm, down * rows_mm, step]), np.asarray(place_of(first).position_mm)
    )


def build_geometry(shape: tuple[int, int, int], steps: NDArray[np.float64], origin: NDArray[np.float64]) -> Geometry:
    """A geometry in RAS+ from what DICOM has in LPS.

    Args:
        shape: voxels along i, j, k.
        steps: from voxel to voxel along i, j, k, a row each, millimetres.
        origin: of the first voxel.
    Returns:
        the geometry.
    """
    affine = np.eye(4)
    affine[:3, :3] = steps.T
    affine[:3, 3] = origin
    affine[:2] *= -1  # LPS to RAS: left and back become right and front
    affine += 0.0  # no negative zeros
    x, y, z = (float(np.linalg.norm(step)) for step in steps)
    return Geometry(shape, affine, (x, y, z))
