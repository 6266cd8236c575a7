"""How medseg's measurements are called in DICOM: concept, derivation, method and unit of each."""

from __future__ import annotations

from typing import NamedTuple

from medseg.core.results import Measurement
from medseg.io.dicom.codes import Code, find_code

MILLILITRE = Code("mL", "UCUM", "milliliter")


class MeasuredName(NamedTuple):
    """A measurement's concept, how it was derived from voxels, by which method, and its unit."""

    concept: Code
    unit: Code
    derivation: Code | None = None
    method: Code | None = None


# Quantity: concept (keyword, context group or scheme) and unit. Shapes are those of the IBSI reference manual, which
# medseg's are held to.
_SIZES: dict[str, tuple[str, str, str | Code]] = {
    "volume_mesh_ml": ("VolumeOfMesh", "cid7469", MILLILITRE),
    "surface_mm2": ("SurfaceAreaOfMesh", "cid7469", "SquareMillimeter"),
    "sphericity": ("Sphericity", "IBSI", "NoUnits"),
    "elongation": ("Elongation", "IBSI", "NoUnits"),
    "flatness": ("Flatness", "IBSI", "NoUnits"),
    "diameter_3d_mm": ("Maximum3DDiameterOfAMesh", "cid7469", "Millimeter"),
    "diameter_axial_mm": ("LongAxis", "SCT", "Millimeter"),
    "diameter_perpendicular_mm": ("ShortAxis", "SCT", "Millimeter"),
    "lesion_count": ("NumberOfLesions", "SCT", "NoUnits"),
}
_DERIVATIONS = {
    "mean_intensity": "Mean", "sd_intensity": "StandardDeviation", "median_intensity": "Median",
    "min_intensity": "Minimum", "max_intensity": "Maximum",
    "suv_mean": "Mean", "suv_max": "Maximum", "suv_peak": "PeakValueWithinROI",
}  # fmt: skip


def name_measurement(row: Measurement, modality: str) -> MeasuredName | None:
    """How a row of the table of measurements is called in DICOM.

    Args:
        row: the row.
        modality: of the series that was measured.
    Returns:
        its name; None for what DICOM has no name for, or no unit (an MR image's intensities have a name, those of an
        unknown kind of image none).
    """
    if row.quantity == "volume_ml":
        method = find_code("SumOfSegmentedVoxelMethodForVolume", "cid7474")
        return MeasuredName(find_code("Volume"), MILLILITRE, None, method)
    if row.quantity in _SIZES:
        keyword, scheme, unit = _SIZES[row.quantity]
        return MeasuredName(find_code(keyword, scheme), unit if isinstance(unit, Code) else find_code(unit, "UCUM"))
    if row.quantity not in _DERIVATIONS:
        return None
    derivation = find_code(_DERIVATIONS[row.quantity], "cid7464")
    uptake = row.quantity.startswith("suv_")
    if uptake:
        suv = find_code("StandardizedUptakeValueBodyWeight", "UCUM")
        return MeasuredName(find_code("Suvbw", "cid7469"), suv, derivation)
    if row.unit == "HU":
        return MeasuredName(
            find_code("AttenuationCoefficient", "cid7469"), find_code("HounsfieldUnit", "UCUM"), derivation
        )
    if row.unit == "" and modality == "MR":
        return MeasuredName(find_code("MRSignalIntensity", "cid7469"), find_code("NoUnits", "UCUM"), derivation)
    return None
