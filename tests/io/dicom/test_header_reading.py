"""Headers are read as pydicom reads them, and damaged files never raise, hang or pass for something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medseg.io.dicom.header_reading import ReadHeader, read_header
from medseg.io.dicom.walk import list_tree
from tests.io.dicom_series import Plane, build, pile, save, write
from tests.io.dicom_situations import SITUATIONS


def _read(path: Path) -> ReadHeader:
    read = read_header(path)
    assert read.problem is None
    return read


@pytest.mark.parametrize("name", ["axial", "implicit", "big endian", "no preamble", "oblique", "unsigned, 12 bits"])
def test_values_are_those_that_pydicom_reads(name: str, tmp_path: Path) -> None:
    SITUATIONS[name].make(tmp_path)
    for path in list_tree(tmp_path)[0]:
        header, truth = _read(path).header, pydicom.dcmread(path, force=True)
        assert header is not None
        assert header.place is not None
        assert header.pixels is not None
        assert header.sop_instance_uid == truth.SOPInstanceUID
        assert header.place.position_mm == tuple(map(float, truth.ImagePositionPatient))
        assert header.place.orientation == tuple(map(float, truth.ImageOrientationPatient))
        assert header.place.spacing_mm == tuple(map(float, truth.PixelSpacing))
        assert (header.pixels.rows, header.pixels.bits_stored) == (truth.Rows, truth.BitsStored)
        assert header.scale.slope == float(truth.RescaleSlope)
        with path.open("rb") as stream:
            stream.seek(header.pixels.offset or 0)
            assert stream.read(header.pixels.size or 0) == truth.PixelData


def test_patients_are_told_apart_without_their_names(tmp_path: Path) -> None:
    spellings = ("Muster^Erika", "MUSTER^ERIKA^^", " Muster^Erika "), ("Muster^Max",)
    digests = []
    for number, name in enumerate(spelling for group in spellings for spelling in group):
        plane = Plane(np.zeros(3), header={"PatientName": name})
        header = _read(save(tmp_path / str(number), build(plane, number))).header
        assert header is not None
        assert "uster" not in repr(header)
        digests.append(header.patient)
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_sequences_of_every_kind_are_passed_over(tmp_path: Path) -> None:
    """Of stated and unstated length, nested, empty; a position inside one is not the file's."""
    inner = Dataset()
    inner.ImagePositionPatient = [9, 9, 9]
    outer = Dataset()
    outer.ReferencedSeriesSequence = Sequence([inner, inner])
    for undefined in (True, False):
        data = build(pile(1)[0], 1)
        data.ReferencedStudySequence = Sequence([outer, Dataset()])
        data.RequestAttributesSequence = Sequence([])
        for element in (data["ReferencedStudySequence"], outer["ReferencedSeriesSequence"]):
            element.is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        header = _read(save(tmp_path / str(undefined), data)).header
        assert header is not None
        assert header.place is not None
        assert header.place.position_mm == (-11.0, -7.0, 20.0)
        assert header.pixels is not None


def test_a_header_of_megabytes_is_read(tmp_path: Path) -> None:
    data = build(pile(1)[0], 1)
    data.add_new(0x00091010, "LO", "odd owner")
    data.add_new(0x00091011, "OB", bytes(3_000_000))
    header = _read(save(tmp_path / "large", data)).header
    assert header is not None
    assert header.pixels is not None
    assert (header.pixels.offset or 0) > 3_000_000


def test_no_truncation_goes_unnoticed(tmp_path: Path) -> None:
    content = write(tmp_path, pile(1))[0].read_bytes()
    path = tmp_path / "cut"
    for length in range(140, len(content) - 1, 7):
        path.write_bytes(content[:length])
        read = read_header(path)
        assert read.problem is not None or (read.header is not None and not read.header.sop_class_uid), length


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_refused_or_read_but_never_raise(seed: int, tmp_path: Path) -> None:
    content = bytearray(write(tmp_path, pile(1))[0].read_bytes())
    random = np.random.default_rng(seed)
    path = tmp_path / "changed"
    for _ in range(300):
        changed = content.copy()
        for position in random.integers(132, len(content) - 130, 3):
            changed[position] = random.integers(256)
        path.write_bytes(changed)
        read = read_header(path)
        assert (read.header is None) or (read.problem is None)


@pytest.mark.parametrize(
    "content", [b"", b"\x08", b"DICM", b"\x08\x00\x05\x00CS", bytes(500), b"\x02\x00\x00\x00" * 99]
)
def test_a_few_bytes_are_no_header(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "few"
    path.write_bytes(content)
    header = read_header(path).header
    assert header is None or header.pixels is None
