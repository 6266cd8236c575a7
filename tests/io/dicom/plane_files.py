"""Single files of any transfer syntax, written by pydicom, for tests of reading one file."""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medseg.io.dicom.header_reading import read_header
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.uids import derive_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def make_dataset(stored: NDArray[Any], **changes: Any) -> Dataset:
    """A CT plane, or several frames where ``stored`` is (frame, row, column); None takes an attribute away."""
    planes = stored[None] if stored.ndim == 2 else stored
    dataset = Dataset()
    values = {
        "SOPClassUID": CT, "SOPInstanceUID": derive_uid("test", "plane"), "Modality": "CT",
        "StudyInstanceUID": derive_uid("test", "study"), "SeriesInstanceUID": derive_uid("test", "series"),
        "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1],
        "Rows": planes.shape[1], "Columns": planes.shape[2], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8 * stored.itemsize,
        "BitsStored": 8 * stored.itemsize, "PixelRepresentation": int(stored.dtype.kind == "i"),
    }  # fmt: skip
    if stored.ndim == 3:
        values["NumberOfFrames"] = len(stored)
    values |= changes
    values.setdefault("HighBit", (values["BitsStored"] or 1) - 1)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def write_plane(path: Path, stored: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **changes: Any) -> FrameHeader:
    """Write an uncompressed file and read its header."""
    path.write_bytes(write_bytes(stored, syntax, **changes))
    return header_of(path)


def write_bytes(stored: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **changes: Any) -> bytes:
    """The bytes of an uncompressed file."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    raw = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset = make_dataset(stored, **changes)
    if stored.dtype.kind == "f":
        keyword = "FloatPixelData" if stored.itemsize == 4 else "DoubleFloatPixelData"
        setattr(dataset, keyword, raw)
        del dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    elif stored.itemsize == 4:
        dataset.add_new("PixelData", "OW", raw)
    else:
        raw = raw + b"\0" * (len(raw) % 2)
        if stored.itemsize == 1 and order == ">":  # words of two values, each swapped
            raw = np.frombuffer(raw, "<u2").astype(">u2").tobytes()
        dataset.add_new("PixelData", "OW", raw)
    return pack(dataset, syntax)


def write_compressed(
    path: Path, stored: NDArray[Any], syntax: str, codestreams: list[bytes], **changes: Any
) -> FrameHeader:
    """Write a file of compressed frames and read its header."""
    dataset = make_dataset(stored, **changes)
    dataset.add_new("PixelData", "OB", encapsulate(codestreams))
    dataset["PixelData"].is_undefined_length = True
    path.write_bytes(pack(dataset, syntax))
    return header_of(path)


def pack(dataset: Dataset, syntax: str) -> bytes:
    """The bytes of a file with preamble and file header."""
    buffer = BytesIO()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    if syntax != DEFLATED:
        dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
        return buffer.getvalue()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    plain = buffer.getvalue()
    body = BytesIO()
    from pydicom.filebase import DicomFileLike

    target = DicomFileLike(body)
    target.is_implicit_VR, target.is_little_endian = False, True
    content = Dataset()
    content.update({tag: dataset[tag] for tag in dataset.keys() if tag.group > 2})  # noqa: SIM118
    write_dataset(target, content)
    head = plain[: len(plain) - len(body.getvalue())]
    assert plain[len(head) :] == body.getvalue()
    head = head.replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99")
    length = int.from_bytes(head[140:144], "little") + 2
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return head[:140] + length.to_bytes(4, "little") + head[144:] + engine.compress(body.getvalue()) + engine.flush()


def header_of(path: Path) -> FrameHeader:
    """The header of a file that can be read."""
    read = read_header(path)
    assert read.header is not None, read.problem
    return read.header
