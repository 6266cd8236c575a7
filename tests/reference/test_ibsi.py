"""The digital phantom of the Image Biomarker Standardisation Initiative, against its published values.

Source: IBSI reference manual 1.0, tables of sections 3.1 to 3.3, digital phantom, with their tolerances.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.measurement import measure_case

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
FOLDER = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "ibsi_digital_phantom" / "nifti"

PUBLISHED = {
    "volume_voxels": (74, 0),
    "volume_ml": (0.592, 0.004),
    "volume_mesh_ml": (0.556, 0.004),
    "surface_mm2": (388, 3),
    "sphericity": (0.843, 0.005),
    "diameter_3d_mm": (13.1, 0.1),
    "elongation": (0.816, 0.0005),
    "flatness": (0.749, 0.0005),
    "mean_intensity": (2.15, 0.005),
    "sd_intensity": (3.05**0.5, 0.002),
    "median_intensity": (1, 0),
    "min_intensity": (1, 0),
    "max_intensity": (6, 0),
    "p10_intensity": (1, 0),
    "p90_intensity": (4, 0),
    "suv_peak": (3.1, 0.05),  # global intensity peak
}


@pytest.fixture(scope="module")
def rows():
    mask = nibabel.load(FOLDER / "mask" / "mask.nii.gz")
    image = nibabel.load(FOLDER / "image" / "phantom.nii.gz")
    geometry = Geometry(mask.shape, mask.affine)
    segmentation = Segmentation(np.asarray(mask.dataobj).astype(np.uint8), geometry)
    volume = Volume(np.asarray(image.dataobj, dtype=np.float32)[None], geometry, ("SUV",))  # so that there is a peak
    return measure_case(segmentation, LabelScheme.make({"roi": 1}), volume=volume, case="phantom")


@pytest.mark.parametrize("quantity", PUBLISHED)
def test_published_value(rows, quantity):
    (value,) = [row.value for row in rows if (row.quantity, row.instance) == (quantity, 0)]
    expected, tolerance = PUBLISHED[quantity]
    assert value == pytest.approx(expected, abs=tolerance)


def test_published_range_between_the_quartiles(rows):
    first, third = (
        row.value for row in rows if row.instance == 0 and row.quantity in ("p25_intensity", "p75_intensity")
    )
    assert third - first == 3
