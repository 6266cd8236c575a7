"""Measurements of masks: volumes, diameters, shape and intensities, label by label and lesion by lesion."""

from medseg.measurement.cases import measure_case
from medseg.measurement.diameters import AxialDiameter, find_longest_diameter, longest_axial_diameter
from medseg.measurement.lesions import find_axial_diameters

__all__ = [
    "AxialDiameter",
    "find_axial_diameters",
    "find_longest_diameter",
    "longest_axial_diameter",
    "measure_case",
]
