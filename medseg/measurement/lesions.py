"""A label's lesions, each with the numbers that its measurements are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from medseg.measurement.intensity import Intensities, sum_intensities
from medseg.measurement.mesh import count_neighbourhoods
from medseg.measurement.shape import Moments, sum_moments
from medseg.shapes.boxes import Box, bound_mask
from medseg.shapes.components import find_components


@dataclass(frozen=True, eq=False)
class Lesion:
    """One lesion, or a whole label as the sum of its lesions; an empty label has no voxels and no diameters.

    Args:
        moments: sums over its voxels, index coordinates of the scan.
        neighbourhoods: counts of its 2x2x2 patterns, (256,).
        outermost: candidates for the ends of the longest diameter, (point, 3), index coordinates.
        diameter_3d_mm: the longest distance between two points of its mesh.
        axial: the longest axial diameter; for a label that of the lesion where it is longest.
        touches_border: whether a voxel lies in the outermost layer of the scan.
        intensities: per channel; empty where there is no image.
    """

    moments: Moments
    neighbourhoods: NDArray[np.int64]
    outermost: NDArray[np.float64]
    diameter_3d_mm: float | None
    axial: AxialDiameter | None
    touches_border: bool
    intensities: tuple[Intensities, ...]


def measure_lesions(
    array: NDArray[Any], name: str, labels: LabelScheme, geometry: Geometry, volume: Volume | None = None
) -> list[Lesion]:
    """The lesions of one label, largest first.

    Args:
        array: label values, (i, j, k).
        name: the class or region.
        labels: the label scheme.
        geometry: the grid.
        volume: the image, for the intensities.
    Returns:
        a lesion per 26-neighbour component; empty where the label is.
    """
    return [_measure_lesion(mask, box, geometry, volume) for box, mask in _separate_lesions(array, name, labels)]


def unite_lesions(lesions: Sequence[Lesion], geometry: Geometry, channel_count: int) -> Lesion:
    """A whole label from its lesions: voxels of different lesions never share a 2x2x2 pattern, so that all adds up.

    Args:
        lesions: of one label.
        geometry: the grid.
        channel_count: channels of the image, 0 where there is none.
    Returns:
        the label; without voxels where there is no lesion.
    """
    if len(lesions) == 1:
        return lesions[0]
    outermost = np.concatenate([np.zeros((0, 3)), *(lesion.outermost for lesion in lesions)])
    diameters = [lesion.axial for lesion in lesions if lesion.axial is not None]
    return Lesion(
        moments=reduce(add, (lesion.moments for lesion in lesions), sum_moments(np.zeros((0, 0, 0), bool))),
        neighbourhoods=sum((lesion.neighbourhoods for lesion in lesions), np.zeros(256, np.int64)),
        outermost=outermost,
        diameter_3d_mm=_measure_length(outermost, geometry) if lesions else None,
        axial=max(diameters, key=lambda diameter: diameter.length_mm, default=None),
        touches_border=any(lesion.touches_border for lesion in lesions),
        intensities=tuple(
            reduce(add, (lesion.intensities[channel] for lesion in lesions), Intensities())
            for channel in range(channel_count)
        ),
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


def _separate_lesions(array: NDArray[Any], name: str, labels: LabelScheme) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    # Each lesion's box in the scan and its mask within the box, largest lesion first.
    from scipy import ndimage

    occupied = bound_mask(array)
    if occupied is None:
        return
    mask = labels.mask(array[occupied], name)
    inner = bound_mask(mask)
    if inner is None:
        return
    label_box = _within(occupied, inner)
    components, count = find_components(mask[inner])
    boxes = [tuple(slice(0, length) for length in components.shape)]
    if count > 1:
        boxes = ndimage.find_objects(components)  # type: ignore[attr-defined]
    for number, box in enumerate(boxes, start=1):
        yield _within(label_box, box), np.ascontiguousarray(components[box] == number)


def _within(outer: Box, inner: Box) -> Box:
    return tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))


def _measure_lesion(mask: NDArray[np.bool_], box: Box, geometry: Geometry, volume: Volume | None) -> Lesion:
    start = [side.start for side in box]
    outermost = list_outermost_points(mask) + start
    return Lesion(
        moments=sum_moments(mask, start),
        neighbourhoods=count_neighbourhoods(mask),
        outermost=outermost,
        diameter_3d_mm=_measure_length(outermost, geometry),
        axial=longest_axial_diameter(mask, geometry, start),
        touches_border=_touches_border(box, geometry),
        intensities=() if volume is None else sum_intensities(volume, box, mask),
    )


def _measure_length(points: NDArray[np.float64], geometry: Geometry) -> float:
    first, second = find_longest_diameter(geometry.to_world(points))
    return float(np.linalg.norm(second - first))


def _touches_border(box: Box, geometry: Geometry) -> bool:
    # The box is tight, so that it touches where the mask does. A picture's single slice is no border.
    sides = zip(box, geometry.shape, strict=True)
    return any(length > 1 and (side.start == 0 or side.stop == length) for side, length in sides)
