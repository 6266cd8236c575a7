"""All measurements of one case, as rows of the measurement table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement, Status
from medseg.core.volume import Segmentation, Volume
from medseg.measurement.lesions import Lesion, measure_lesions, name_lesion, unite_lesions
from medseg.measurement.mesh import measure_mesh
from medseg.measurement.shape import find_centroid, measure_axes, measure_sphericity, measure_stretch

VOXEL_COUNT = "voxel count x voxel volume"
MESH = "marching cubes mesh at 0.5"
VOXEL_CENTRES = "principal axes of voxel centres"
DIAMETER_3D = "longest between mesh points"
DIAMETER_AXIAL = "longest in one axial slice, pixel corners"
DIAMETER_AXIAL_LABEL = "longest of any lesion in one axial slice, pixel corners"
PERPENDICULAR = "longest chord perpendicular to diameter_axial_mm in its slice"
COMPONENTS = "conn=26"
BORDER = "voxel in the outermost layer of the scan"
CENTROID = "mean of voxel centres, RAS+"
NO_CHANNEL = "no image"


class Quantity(NamedTuple):
    """One measured quantity before it is tied to a case and label; value None means that it is not defined."""

    name: str
    definition: str
    value: float | None
    unit: str
    status: Status | None = None


def measure_case(
    segmentation: Segmentation,
    labels: LabelScheme,
    *,
    volume: Volume | None = None,
    case: str,
    patient: str = "",
    day: int | None = None,
) -> list[Measurement]:
    """Volumes, diameters, shape and intensities of every label and of each of its lesions.

    Args:
        segmentation: the mask; voxels of the ignore label belong to no label.
        labels: what its values mean; regions are measured as their union.
        volume: the image on the same grid, for the intensities.
        case: the case's name.
        patient: whom the scan belongs to; the case's name where empty.
        day: days since the patient's first scan, where known.
    Returns:
        rows label by label: instance 0 for the whole label, 1, 2, ... for its lesions (26-neighbour components),
        largest first. An empty label has the volume 0 and no lesion rows; its diameters and shape are None with the
        status ``not_defined``. Intensities without an image are None with ``no_image``; with one there is a row per
        channel, named in ``definition``, in the image's own unit.
    Raises:
        GeometryError: image and mask lie on different grids.
    """
    geometry = segmentation.geometry
    channels = None if volume is None else volume.channels
    if volume is not None and not volume.geometry.same_grid(geometry):
        raise GeometryError(
            f"the mask's grid is {geometry.describe()}, the image's {volume.geometry.describe()}",
            code="other_grid",
            case=case,
            remedy="Give the image that the mask was drawn on",
        )
    rows: list[Measurement] = []
    for name in labels.names:
        lesions = measure_lesions(segmentation.array, name, labels, geometry, volume)
        whole = unite_lesions(lesions, geometry, len(channels or ()))
        count = Quantity("lesion_count", COMPONENTS, float(len(lesions)), "")
        for instance, lesion in enumerate([whole, *lesions]):
            quantities = list(_describe_lesion(lesion, geometry, channels, whole=instance == 0))
            if instance == 0:
                quantities.insert(2, count)
            lesion_id = name_lesion(name, instance) if instance else ""
            rows += [
                _make_row(quantity, case, patient or case, day, name, instance, lesion_id) for quantity in quantities
            ]
    return rows


def _make_row(
    quantity: Quantity, case: str, patient: str, day: int | None, label: str, instance: int, lesion_id: str
) -> Measurement:
    known = quantity.value is not None and math.isfinite(quantity.value)
    return Measurement(
        case=case,
        patient=patient,
        day=day,
        label=label,
        instance=instance,
        lesion_id=lesion_id,
        quantity=quantity.name,
        definition=quantity.definition,
        value=quantity.value if known else None,
        low=None,
        high=None,
        unit=quantity.unit,
        status=quantity.status or ("ok" if known else "not_defined"),
    )


def _describe_lesion(
    lesion: Lesion, geometry: Geometry, channels: Sequence[str] | None, *, whole: bool
) -> Iterator[Quantity]:
    count = lesion.moments.count
    yield Quantity("volume_voxels", "voxel count", float(count), "voxels")
    yield Quantity("volume_ml", VOXEL_COUNT, count * geometry.voxel_volume_ml, "ml")
    yield from _describe_shape(lesion, geometry)
    length_mm, across_mm = (lesion.axial.length_mm, lesion.axial.perpendicular_mm) if lesion.axial else (None, None)
    yield Quantity("diameter_3d_mm", DIAMETER_3D, lesion.diameter_3d_mm, "mm")
    definition = DIAMETER_AXIAL_LABEL if whole else DIAMETER_AXIAL
    yield Quantity("diameter_axial_mm", definition, length_mm, "mm")
    yield Quantity("diameter_perpendicular_mm", PERPENDICULAR, across_mm, "mm")
    yield Quantity("touches_border", BORDER, float(lesion.touches_border), "")
    centroid = find_centroid(lesion.moments, geometry)
    for axis, name in enumerate("xyz"):
        value = None if centroid is None else float(centroid[axis])
        yield Quantity(f"centroid_{name}_mm", CENTROID, value, "mm")
    yield from _describe_intensities(lesion, channels)


def _describe_shape(lesion: Lesion, geometry: Geometry) -> Iterator[Quantity]:
    mesh_ml, surface_mm2 = measure_mesh(lesion.neighbourhoods, geometry)
    elongation, flatness = measure_stretch(measure_axes(lesion.moments, geometry))
    yield Quantity("volume_mesh_ml", MESH, mesh_ml, "ml")
    yield Quantity("surface_mm2", MESH, surface_mm2, "mm2")
    yield Quantity("sphericity", MESH, measure_sphericity(mesh_ml * 1000, surface_mm2), "")
    yield Quantity("elongation", VOXEL_CENTRES, elongation, "")
    yield Quantity("flatness", VOXEL_CENTRES, flatness, "")


def _describe_intensities(lesion: Lesion, channels: Sequence[str] | None) -> Iterator[Quantity]:
    if channels is None:
        yield Quantity("mean_intensity", NO_CHANNEL, None, "", "no_image")
        yield Quantity("sd_intensity", NO_CHANNEL, None, "", "no_image")
        return
    for channel, entry in zip(channels, lesion.intensities, strict=True):
        known = entry.count > 0 and np.isfinite(entry.mean)
        yield Quantity("mean_intensity", channel, entry.mean if known else None, "")
        yield Quantity("sd_intensity", channel, entry.sd if known else None, "")
