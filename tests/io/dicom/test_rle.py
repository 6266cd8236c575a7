"""Frames compressed by us are those that other decoders give back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless

from medseg.io.dicom.rle import encode_frame


@pytest.mark.parametrize("shape", [(1, 1), (9, 13), (7, 128), (3, 129), (2, 700), (64, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("values", [1, 2, 60000])
def test_pydicom_gives_the_frame_back(shape: tuple[int, int], dtype: Any, values: int) -> None:
    random = np.random.default_rng(values)
    frame = random.integers(0, values, shape).astype(dtype)
    frame[:, shape[1] // 3 :] = frame[:, :1]
    coded = encode_frame(frame)
    assert len(coded) % 2 == 0
    content = Dataset()
    content.file_meta = FileMetaDataset()
    content.file_meta.TransferSyntaxUID = RLELossless
    content.Rows, content.Columns = shape
    content.SamplesPerPixel, content.PhotometricInterpretation, content.PixelRepresentation = 1, "MONOCHROME2", 0
    content.BitsAllocated = content.BitsStored = 8 * frame.dtype.itemsize
    content.HighBit, content.NumberOfFrames = content.BitsStored - 1, 1
    content.PixelData = encapsulate([coded])
    content["PixelData"].VR = "OB"
    found, _ = next(get_decoder(RLELossless).iter_array(content, raw=True, decoding_plugin="pydicom"))
    assert np.array_equal(found, frame)


def test_labels_shrink() -> None:
    frame = np.zeros((512, 512), np.uint16)
    frame[100:400, 100:400] = 300
    assert len(encode_frame(frame)) < frame.nbytes / 50
