"""A label's lesions, each with the numbers that its measurements are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.measurement.diameters import (
    AxialDiameter,
    find_longest_diameter,
    list_outermost_points,
    longest_axial_diameter,
)
from medseg.measurement.intensity import Scale, collect_values
from medseg.measurement.mesh import count_neighbourhoods
from medseg.measurement.partial_volume import measure_partial_volumes
from medseg.measurement.pet import find_suv_peak
from medseg.measurement.shape import Moments, sum_moments
from medseg.shapes.boxes import Box, bound_mask
from medseg.shapes.components import find_components


@dataclass(frozen=True, eq=False)
class MeasuredScan:
    """What lesions are measured in besides the mask.

    Args:
        volume: the image; None where there is none.
        scales: the unit of each of its channels.
        probability: of the label that is measured, (i, j, k), 0 to 1; None where it is not known.
    """

    volume: Volume | None = None
    scales: tuple[Scale, ...] = ()
    probability: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion, or a whole label as the sum of its lesions; an empty label has no voxels and no diameters.

    Args:
        moments: sums over its voxels, index coordinates of the scan.
        neighbourhoods: counts of its 2x2x2 patterns, (256,).
        box: its first and last voxel along i, j and k, (2, 3); None where it has none.
        outermost: candidates for the ends of the longest diameter, (point, 3), index coordinates.
        ends_3d_mm: the two points of its mesh that lie farthest apart, (2, 3) in RAS+ millimetres.
        axial: the longest axial diameter; for a label that of the lesion where it is longest.
        touches_border: whether a voxel lies in the outermost layer of the scan.
        values: per channel the intensities of its voxels; empty where there is no image.
        suv_peaks: per channel the highest mean SUV in 1 ml; None for channels whose unit is not SUV.
        partial_voxels: its volume with voxels at the border counted by probability; None where that is not known.
    """

    moments: Moments
    neighbourhoods: NDArray[np.int64]
    box: NDArray[np.intp] | None
    outermost: NDArray[np.float64]
    ends_3d_mm: NDArray[np.float64] | None
    axial: AxialDiameter | None
    touches_border: bool
    values: tuple[NDArray[Any], ...]
    suv_peaks: tuple[float | None, ...]
    partial_voxels: float | None

    @property
    def diameter_3d_mm(self) -> float | None:
        """The longest distance between two points of its mesh."""
        return None if self.ends_3d_mm is None else float(np.linalg.norm(self.ends_3d_mm[1] - self.ends_3d_mm[0]))


def measure_lesions(
    array: NDArray[Any], name: str, labels: LabelScheme, geometry: Geometry, scan: MeasuredScan | None = None
) -> list[Lesion]:
    """The lesions of one label, largest first.

    Args:
        array: label values, (i, j, k).
        name: the class or region.
        labels: the label scheme.
        geometry: the grid.
        scan: the image and the probabilities, where there are some.
    Returns:
        a lesion per 26-neighbour component; empty where the label is.
    Raises:
        DatasetError: the probabilities are none.
    """
    from scipy import ndimage

    scan = scan or MeasuredScan()
    found = _find_lesions(array, name, labels)
    if found is None:
        return []
    label_box, components, count = found
    partial: list[float | None] = [None] * count
    if scan.probability is not None:
        partial = list(map(float, measure_partial_volumes(components, count, label_box, scan.probability)))
    boxes = [tuple(slice(0, length) for length in components.shape)]
    if count > 1:
        boxes = ndimage.find_objects(components)  # type: ignore[attr-defined]
    return [
        _measure_lesion(
            np.ascontiguousarray(components[box] == number),
            _within(label_box, box),
            geometry,
            scan,
            partial[number - 1],
        )
        for number, box in enumerate(boxes, start=1)
    ]


def unite_lesions(lesions: Sequence[Lesion], geometry: Geometry, scan: MeasuredScan | None = None) -> Lesion:
    """A whole label from its lesions: voxels of different lesions never share a 2x2x2 pattern, so that all adds up.

    Args:
        lesions: of one label.
        geometry: the grid.
        scan: what they were measured in.
    Returns:
        the label; without voxels where there is no lesion.
    """
    if len(lesions) == 1:
        return lesions[0]
    scan = scan or MeasuredScan()
    outermost = np.concatenate([np.zeros((0, 3)), *(lesion.outermost for lesion in lesions)])
    diameters = [lesion.axial for lesion in lesions if lesion.axial is not None]
    boxes = np.array([lesion.box for lesion in lesions])
    channels = range(len(scan.scales))
    known = scan.probability is not None
    return Lesion(
        moments=reduce(add, (lesion.moments for lesion in lesions), sum_moments(np.zeros((0, 0, 0), bool))),
        neighbourhoods=sum((lesion.neighbourhoods for lesion in lesions), np.zeros(256, np.int64)),
        box=np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)]) if lesions else None,
        outermost=outermost,
        ends_3d_mm=find_longest_diameter(geometry.to_world(outermost)) if lesions else None,
        axial=max(diameters, key=lambda diameter: diameter.length_mm, default=None),
        touches_border=any(lesion.touches_border for lesion in lesions),
        values=tuple(np.concatenate([np.zeros(0), *(lesion.values[n] for lesion in lesions)]) for n in channels),
        suv_peaks=tuple(_find_highest([lesion.suv_peaks[n] for lesion in lesions]) for n in channels),
        partial_voxels=sum(lesion.partial_voxels or 0.0 for lesion in lesions) if known else None,
    )


def find_axial_diameters(segmentation: Segmentation, labels: LabelScheme) -> dict[str, AxialDiameter]:
    """The longest axial diameter of every lesion, to draw on the image.

    Args:
        segmentation: the mask.
        labels: its label scheme.
    Returns:
        lesion id (``tumour-1``, largest first) to its diameters, in the scan's index and world coordinates.
    """
    found = {}
    for name in labels.names:
        lesions = measure_lesions(segmentation.array, name, labels, segmentation.geometry)
        for number, lesion in enumerate(lesions, start=1):
            if lesion.axial is not None:
                found[name_lesion(name, number)] = lesion.axial
    return found


def name_lesion(label: str, number: int) -> str:
    """The id of a label's lesion, counted from 1, largest first: ``tumour-1``."""
    return f"{label}-{number}"


def _find_lesions(array: NDArray[Any], name: str, labels: LabelScheme) -> tuple[Box, NDArray[np.int32], int] | None:
    # The label's box in the scan, the lesion of each voxel within it, and how many there are, largest first.
    occupied = bound_mask(array)
    if occupied is None:
        return None
    mask = labels.mask(array[occupied], name)
    inner = bound_mask(mask)
    if inner is None:
        return None
    return _within(occupied, inner), *find_components(mask[inner])


def _within(outer: Box, inner: Box) -> Box:
    return tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))


def _measure_lesion(
    mask: NDArray[np.bool_], box: Box, geometry: Geometry, scan: MeasuredScan, partial_voxels: float | None
) -> Lesion:
    start = [side.start for side in box]
    outermost = list_outermost_points(mask) + start
    return Lesion(
        moments=sum_moments(mask, start),
        neighbourhoods=count_neighbourhoods(mask),
        box=np.array([start, [side.stop - 1 for side in box]]),
        outermost=outermost,
        ends_3d_mm=find_longest_diameter(geometry.to_world(outermost)),
        axial=longest_axial_diameter(mask, geometry, start),
        touches_border=_touches_border(box, geometry),
        values=() if scan.volume is None else collect_values(scan.volume, box, mask),
        suv_peaks=_find_peaks(scan, box, mask, geometry),
        partial_voxels=partial_voxels,
    )


def _find_peaks(scan: MeasuredScan, box: Box, mask: NDArray[np.bool_], geometry: Geometry) -> tuple[float | None, ...]:
    if scan.volume is None:
        return ()
    return tuple(
        find_suv_peak(channel, box, mask, geometry) if scale.unit == "SUV" else None
        for scale, channel in zip(scan.scales, scan.volume.array, strict=True)
    )


def _find_highest(peaks: Sequence[float | None]) -> float | None:
    return max((peak for peak in peaks if peak is not None), default=None)


def _touches_border(box: Box, geometry: Geometry) -> bool:
    # The box is tight, so that it touches where the mask does. A picture's single slice is no border.
    sides = zip(box, geometry.shape, strict=True)
    return any(length > 1 and (side.start == 0 or side.stop == length) for side, length in sides)
