"""One label's lesions in one scan, placed in the space of the patient's first scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement
from medseg.core.volume import Segmentation
from medseg.measurement.longitudinal.growth import measure_counting_error
from medseg.shapes.boxes import bound_mask
from medseg.shapes.components import find_components

# Of a larger lesion only every n-th voxel is asked where it lies: an overlap's share is then known to a fraction of a
# percent, and an organ costs no more than a lesion.
_MOST_POINTS = 50_000


@dataclass(frozen=True, eq=False)
class Body:
    """A connected component of one scan's mask with what was measured of it.

    Args:
        instance: its number in the table of measurements, 1 for the largest of its label.
        volume_ml: voxel count times voxel volume, on its own scan's grid.
        interval_ml: the volume's error bar; None where it is not known.
        error_ml: standard deviation of counting voxels (``measure_counting_error``).
        axial_mm, across_mm: longest axial diameter and its perpendicular.
        touches_border: whether the scan may cut it off.
        points_mm: its voxels' centres, or an even selection, in the first scan's world space, (point, 3).
        rows: everything measured of it, by quantity.
    """

    instance: int
    volume_ml: float
    interval_ml: tuple[float | None, float | None]
    error_ml: float
    axial_mm: float
    across_mm: float
    touches_border: bool
    points_mm: NDArray[np.float64]
    rows: Mapping[str, Measurement]


@dataclass(frozen=True, eq=False)
class Bodies:
    """A label's components in one scan.

    Args:
        found: the components, largest first.
        numbers: the component of each voxel in the label's box, 0 outside, (i, j, k).
        start: the index of the box's first voxel in the scan.
        geometry: the scan's grid.
        to_first: 4x4, from the scan's world millimetres to those of the patient's first scan.
        whole: everything measured of the label as a whole, by quantity.
    """

    found: tuple[Body, ...]
    numbers: NDArray[np.int32]
    start: tuple[int, ...]
    geometry: Geometry
    to_first: NDArray[np.float64]
    whole: Mapping[str, Measurement]

    @property
    def interval_ml(self) -> tuple[float | None, float | None]:
        """The error bar of the label's whole volume; None where it is not known."""
        volume = self.whole["volume_ml"]
        return volume.low, volume.high

    def look_up(self, points_mm: NDArray[np.float64]) -> NDArray[np.int32]:
        """The component at each point of the first scan's world space, (point, 3), 0 where there is none."""
        back = np.linalg.inv(self.to_first)
        world = points_mm @ back[:3, :3].T + back[:3, 3]
        index = np.rint(self.geometry.to_index(world)).astype(np.int64) - self.start
        inside = ((index >= 0) & (index < self.numbers.shape)).all(axis=1)
        found = np.zeros(len(points_mm), np.int32)
        found[inside] = self.numbers[tuple(index[inside].T)]
        return found


def find_bodies(
    segmentation: Segmentation,
    label: str,
    labels: LabelScheme,
    measured: Mapping[tuple[str, int], Mapping[str, Measurement]],
    to_first: NDArray[np.float64],
) -> Bodies:
    """A label's components with their measurements.

    Args:
        segmentation: the scan's mask.
        label: the class or region.
        labels: the label scheme.
        measured: (label, instance) to quantity to row, of ``measure_case`` on the same mask.
        to_first: 4x4, from the scan's world to the first scan's.
    Returns:
        the components; none where the label is empty.
    """
    geometry, whole = segmentation.geometry, measured[label, 0]
    mask = labels.mask(segmentation.array, label)
    box = bound_mask(mask)
    if box is None:
        return Bodies((), np.zeros((0, 0, 0), np.int32), (0, 0, 0), geometry, to_first, whole)
    numbers, count = find_components(mask[box])
    start = tuple(side.start for side in box)
    voxels = np.argwhere(numbers)
    owner = numbers[tuple(voxels.T)]
    order = np.argsort(owner, kind="stable")
    parts = np.split(voxels[order], np.cumsum(np.bincount(owner, minlength=count + 1)[1:])[:-1])
    found: list[Body] = []
    for instance, part in enumerate(parts, start=1):
        chosen = part[:: -(-len(part) // _MOST_POINTS)]
        world = geometry.to_world(chosen + start)
        points_mm = world @ to_first[:3, :3].T + to_first[:3, 3]
        found.append(_make_body(measured[label, instance], whole if count == 1 else {}, points_mm, geometry))
    return Bodies(tuple(found), numbers, start, geometry, to_first, whole)


def _make_body(
    rows: Mapping[str, Measurement],
    whole: Mapping[str, Measurement],
    points_mm: NDArray[np.float64],
    geometry: Geometry,
) -> Body:
    volume = rows["volume_ml"]
    barred = volume if volume.low is not None else whole.get("volume_ml", volume)  # an only lesion is its whole label
    return Body(
        instance=volume.instance,
        volume_ml=volume.value or 0.0,
        interval_ml=(barred.low, barred.high),
        error_ml=measure_counting_error(rows["surface_mm2"].value or 0.0, geometry),
        axial_mm=rows["diameter_axial_mm"].value or 0.0,
        across_mm=rows["diameter_perpendicular_mm"].value or 0.0,
        touches_border=bool(rows["touches_border"].value),
        points_mm=points_mm,
        rows=rows,
    )


def measure_overlaps(first: Bodies, second: Bodies) -> NDArray[np.float64]:
    """The volume that each pair of components, one of either scan, shares.

    Args:
        first, second: a label in two scans.
    Returns:
        millilitres, (component of first, component of second). Each one's voxel centres are looked up in the other's
        grid, so that nothing is resampled; the larger answer counts, since thick slices may pass a small lesion by.
    """
    return np.maximum(_look_up_each(first, second), _look_up_each(second, first).T)


def _look_up_each(asking: Bodies, asked: Bodies) -> NDArray[np.float64]:
    # The volume of each component's points that lie in each component of the other scan, millilitres.
    shared = np.zeros((len(asking.found), len(asked.found)))
    for row, body in zip(shared, asking.found, strict=True):
        counts = np.bincount(asked.look_up(body.points_mm), minlength=len(asked.found) + 1)[1:]
        row[:] = counts * (body.volume_ml / len(body.points_mm))
    return shared
