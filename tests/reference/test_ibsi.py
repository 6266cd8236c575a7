"""The digital phantom of the Image Biomarker Standardisation Initiative, against its published values.

Source: IBSI reference manual 1.0, tables of section 3.1 and 3.3, digital phantom, with their tolerances.
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
}


@pytest.mark.parametrize("quantity", PUBLISHED)
def test_published_value(quantity):
    mask = nibabel.load(FOLDER / "mask" / "mask.nii.gz")
    image = nibabel.load(FOLDER / "image" / "phantom.nii.gz")
    geometry = Geometry(mask.shape, mask.affine)
    segmentation = Segmentation(np.asarray(mask.dataobj).astype(np.uint8), geometry)
    volume = Volume(np.asarray(image.dataobj, dtype=np.float32)[None], geometry, ("grey",))
    rows = measure_case(segmentation, LabelScheme.make({"roi": 1}), volume=volume, case="phantom")
    (value,) = [row.value for row in rows if (row.quantity, row.instance) == (quantity, 0)]
    expected, tolerance = PUBLISHED[quantity]
    assert value == pytest.approx(expected, abs=tolerance)
