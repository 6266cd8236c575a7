"""Volumes of 38 real tumours are voxel count times voxel volume, exactly."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.measurement import measure_case

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
MASKS = sorted((Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "sarcoma_mr" / "masks").glob("*.nii.gz"))


@pytest.mark.parametrize("path", MASKS, ids=lambda path: path.name.partition(".")[0])
def test_volume(path):
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).astype(np.uint8)
    segmentation = Segmentation(array, Geometry(array.shape, image.affine))
    rows = measure_case(segmentation, LabelScheme.make({"tumour": 1}), case=path.name)
    found = {row.quantity: row.value for row in rows if row.instance == 0}
    assert found["volume_ml"] == np.count_nonzero(array) * segmentation.geometry.voxel_volume_ml
    parts = [row.value for row in rows if row.instance and row.quantity == "volume_voxels"]
    assert sum(parts) == np.count_nonzero(array)
    assert parts == sorted(parts, reverse=True)
    assert 17 < found["volume_ml"] < 2333.5
    assert found["volume_mesh_ml"] == pytest.approx(found["volume_ml"], rel=0.02)
    assert found["diameter_perpendicular_mm"] <= found["diameter_axial_mm"]
