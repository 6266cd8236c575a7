"""Segmentations for real series of several vendors, as they are read: every voxel comes back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.seg_read import read_seg, read_seg_mask
from medseg.io.dicom.seg_write import write_seg

DATA = os.environ.get("MEDSEG_TEST_DATA")
ROOT = Path(DATA or ".") / "data"
LABELS = LabelScheme.make({"tumour": 1, "liver": 2})

pytestmark = pytest.mark.skipif(not DATA, reason="MEDSEG_TEST_DATA is not set")


@pytest.mark.parametrize(
    "folder",
    [
        "sarcoma_dicom/STS_001/PET/image",
        "dicom_odd/multi_vendor/philips_enhanced/anatomical",
        "dicom_odd/multi_vendor/siemens/anatomical",
        "dicom_odd/multi_vendor/generic/compressed_jpegls",
        "dicom_odd/ct_gantry_tilt_ge",
    ],
)
def test_every_voxel_comes_back(tmp_path: Path, folder: str) -> None:
    found = [
        series for series in find_series(ROOT / folder).series if series.kind == "image" and series.problem is None
    ]
    for series in found[:3]:
        _, source, _ = read_series(series, tilt="resample")
        random = np.random.default_rng(1)
        blocks = random.integers(0, 3, tuple(-(-n // 8) for n in source.geometry.shape)).astype(np.uint8)
        array = np.kron(blocks, np.ones((8, 8, 8), np.uint8))[tuple(slice(0, n) for n in source.geometry.shape)]
        written = write_seg(tmp_path / "seg.dcm", Segmentation(array, source.geometry), LABELS, source)
        back = read_seg_mask(written.path, labels=LABELS, like=source.geometry)
        assert np.array_equal(back.segmentation.array, array)
        content = read_seg(written.path)
        assert (content.study_uid, content.source_series_uids) == (source.study_uid, (source.series_uid,))
    assert found
