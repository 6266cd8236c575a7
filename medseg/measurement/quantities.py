"""What is measured of a lesion or a whole label: names, definitions, values and units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.results import Status
from medseg.measurement.intensity import PERCENTILES, IntensitySummary, Scale, summarise_values
from medseg.measurement.lesions import Lesion, MeasuredScan
from medseg.measurement.mesh import measure_mesh
from medseg.measurement.pet import measure_spread
from medseg.measurement.shape import find_centroid, measure_axes, measure_sphericity, measure_stretch

VOXEL_COUNT = "voxel count x voxel volume"
PARTIAL_VOLUME = "probability in the layer on either side of the border, 1 inside"
MESH = "marching cubes mesh at 0.5"
VOXEL_CENTRES = "principal axes of voxel centres"
DIAMETER_3D = "longest between mesh points"
DIAMETER_AXIAL = "longest in one axial slice, pixel corners"
DIAMETER_AXIAL_LABEL = "longest of any lesion in one axial slice, pixel corners"
PERPENDICULAR = "longest chord perpendicular to diameter_axial_mm in its slice"
COMPONENTS = "conn=26"
BORDER = "voxel in the outermost layer of the scan"
CENTROID = "mean of voxel centres, RAS+"
BOX = "smallest box of whole voxels along the world's axes, RAS+"
NO_CHANNEL = "no image"
SUV_PEAK = "highest mean in a sphere of 1 ml about a voxel of the lesion"
WHOLE_MASK = "all voxels of the label, no threshold"
SPREAD = "longest distance between centroids of lesions"


class Quantity(NamedTuple):
    """One measured quantity before it is tied to a case and label; value None means that it is not defined."""

    name: str
    definition: str
    value: float | None
    unit: str
    status: Status | None = None


def describe_lesion(lesion: Lesion, geometry: Geometry, scan: MeasuredScan) -> list[Quantity]:
    """Everything that is measured of one lesion.

    Args:
        lesion: of a label.
        geometry: the scan's grid.
        scan: what else it was measured in.
    Returns:
        volumes, shape, diameters, place and intensities, in the order of the table.
    """
    return [*_describe_body(lesion, geometry, DIAMETER_AXIAL), *_describe_image(lesion, geometry, scan)]


def describe_label(whole: Lesion, lesions: Sequence[Lesion], geometry: Geometry, scan: MeasuredScan) -> list[Quantity]:
    """Everything that is measured of a whole label.

    Args:
        whole: the label as the sum of its lesions.
        lesions: its lesions.
        geometry: the scan's grid.
        scan: what else they were measured in.
    Returns:
        what ``describe_lesion`` returns, with the number of lesions and, for PET, the patient's totals.
    """
    quantities = list(_describe_body(whole, geometry, DIAMETER_AXIAL_LABEL))
    quantities.insert(2, Quantity("lesion_count", COMPONENTS, float(len(lesions)), ""))
    return [*quantities, *_describe_image(whole, geometry, scan), *_describe_totals(whole, lesions, geometry, scan)]


def bound_world(lesion: Lesion, geometry: Geometry) -> NDArray[np.float64] | None:
    """The smallest box along the world's axes that holds a lesion's voxels with their corners.

    Args:
        lesion: with voxels or without.
        geometry: the scan's grid.
    Returns:
        lowest and highest (x, y, z), (2, 3) in RAS+ millimetres; None where there is no voxel.
    """
    if not lesion.moments.count:
        return None
    points = geometry.to_world(lesion.outermost)
    # A voxel reaches from its centre to its face's middle along one axis, and to its corner along all three.
    steps = np.abs(geometry.affine[:3, :3]) / 2
    further = steps.sum(axis=1) - steps.max(axis=1)
    return np.stack([points.min(axis=0) - further, points.max(axis=0) + further])


def _describe_body(lesion: Lesion, geometry: Geometry, axial: str) -> Iterator[Quantity]:
    count, voxel_ml = lesion.moments.count, geometry.voxel_volume_ml
    yield Quantity("volume_voxels", "voxel count", float(count), "voxels")
    yield Quantity("volume_ml", VOXEL_COUNT, count * voxel_ml, "ml")
    if lesion.partial_voxels is not None:
        yield Quantity("volume_partial_ml", PARTIAL_VOLUME, lesion.partial_voxels * voxel_ml, "ml")
    yield from _describe_shape(lesion, geometry)
    length_mm, across_mm = (lesion.axial.length_mm, lesion.axial.perpendicular_mm) if lesion.axial else (None, None)
    yield Quantity("diameter_3d_mm", DIAMETER_3D, lesion.diameter_3d_mm, "mm")
    yield Quantity("diameter_axial_mm", axial, length_mm, "mm")
    yield Quantity("diameter_perpendicular_mm", PERPENDICULAR, across_mm, "mm")
    yield Quantity("touches_border", BORDER, float(lesion.touches_border), "")
    centroid, bounds = find_centroid(lesion.moments, geometry), bound_world(lesion, geometry)
    for axis, name in enumerate("xyz"):
        value = None if centroid is None else float(centroid[axis])
        yield Quantity(f"centroid_{name}_mm", CENTROID, value, "mm")
    for axis, name in enumerate("xyz"):
        for side, end in enumerate(("min", "max")):
            value = None if bounds is None else float(bounds[side, axis])
            yield Quantity(f"box_{name}_{end}_mm", BOX, value, "mm")


def _describe_shape(lesion: Lesion, geometry: Geometry) -> Iterator[Quantity]:
    mesh_ml, surface_mm2 = measure_mesh(lesion.neighbourhoods, geometry)
    elongation, flatness = measure_stretch(measure_axes(lesion.moments, geometry))
    yield Quantity("volume_mesh_ml", MESH, mesh_ml, "ml")
    yield Quantity("surface_mm2", MESH, surface_mm2, "mm2")
    yield Quantity("sphericity", MESH, measure_sphericity(mesh_ml * 1000, surface_mm2), "")
    yield Quantity("elongation", VOXEL_CENTRES, elongation, "")
    yield Quantity("flatness", VOXEL_CENTRES, flatness, "")


def _describe_image(lesion: Lesion, geometry: Geometry, scan: MeasuredScan) -> Iterator[Quantity]:
    if scan.volume is None:
        yield Quantity("mean_intensity", NO_CHANNEL, None, "", "no_image")
        yield Quantity("sd_intensity", NO_CHANNEL, None, "", "no_image")
        return
    for scale, values, peak in zip(scan.scales, lesion.values, lesion.suv_peaks, strict=True):
        summary = summarise_values(values)
        yield from _describe_intensities(summary, scale)
        if scale.is_pet:
            yield from _describe_uptake(summary, peak, scale, lesion.moments.count * geometry.voxel_volume_ml)


def _describe_intensities(summary: IntensitySummary | None, scale: Scale) -> Iterator[Quantity]:
    names = ["mean", "sd", "median", "min", "max", *(f"p{share:02d}" for share in PERCENTILES)]
    known: list[float | None] = [None] * len(names)
    if summary is not None:
        known = [*summary[:5], *summary.percentiles]
    for name, value in zip(names, known, strict=True):
        yield Quantity(f"{name}_intensity", scale.channel, value, scale.unit)


def _describe_uptake(
    summary: IntensitySummary | None, peak: float | None, scale: Scale, volume_ml: float
) -> Iterator[Quantity]:
    known = summary if scale.unit == "SUV" else None
    source = f"{scale.channel}, {scale.reason}"
    yield Quantity("suv_max", f"{source}; highest voxel", known.maximum if known else None, "SUV")
    yield Quantity("suv_peak", f"{source}; {SUV_PEAK}", peak if known else None, "SUV")
    yield Quantity("suv_mean", f"{source}; {WHOLE_MASK}", known.mean if known else None, "SUV")
    yield Quantity("tlg", f"{source}; suv_mean x volume_ml", known.mean * volume_ml if known else None, "SUV ml")


def _describe_totals(
    whole: Lesion, lesions: Sequence[Lesion], geometry: Geometry, scan: MeasuredScan
) -> Iterator[Quantity]:
    # Of a label that stands for tumour: nothing here knows which labels do.
    pet = [n for n, scale in enumerate(scan.scales) if scale.is_pet]
    if not pet:
        return
    yield Quantity("tmtv_ml", WHOLE_MASK, whole.moments.count * geometry.voxel_volume_ml, "ml")
    for n in pet:
        scale, total = scan.scales[n], float(whole.values[n].sum(dtype=np.float64)) * geometry.voxel_volume_ml
        definition = f"{scale.channel}, {scale.reason}; tlg of all lesions added"
        yield Quantity("tlg_total", definition, total if scale.unit == "SUV" else None, "SUV ml")
    centroids = [find_centroid(lesion.moments, geometry) for lesion in lesions]
    yield Quantity("dmax_mm", SPREAD, measure_spread([place for place in centroids if place is not None]), "mm")
