"""What is no sound DICOM is refused before a parser sees it, whatever its bytes are."""

import struct
import warnings

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medseg.core.errors import FormatError, MedsegError, ResourceError
from medseg.io import guard
from medseg.io.dicom.datasets import open_dataset
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.structure import check_structure
from tests.io.dicom.plane_files import DEFLATED, make_dataset, pack, write_bytes

VALUES = np.arange(12, dtype=np.int16).reshape(3, 4)
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DEFLATED)


def save(tmp_path, data, name="file"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def nested(depth: int, undefined: bool) -> Dataset:
    """A plane whose header holds sequences within one another."""
    inner = Dataset()
    inner.StudyID = "1"
    for _ in range(depth):
        outer = Dataset()
        outer.ContentSequence = Sequence([inner])
        outer["ContentSequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        inner = outer
    dataset = make_dataset(VALUES)
    dataset.ContentSequence = inner.ContentSequence
    dataset["ContentSequence"].is_undefined_length = undefined
    dataset.add_new("PixelData", "OW", VALUES.tobytes())
    return dataset


def nest_bytes(depth: int, implicit: bool) -> bytes:
    """As ``nested`` with undefined lengths, without the recursion of a writer."""
    start = b"\x40\x00\x30\xa7" + (b"" if implicit else b"SQ\0\0") + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    stop = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    plain = pack(make_dataset(VALUES), ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
    return plain + start * depth + stop * depth


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_sound_files_are_walked_to_their_pixels(tmp_path, syntax, undefined):
    path = save(tmp_path, pack(nested(3, undefined), syntax))
    found = check_structure(path)
    assert found.transfer_syntax_uid == syntax
    assert found.depth == 3
    assert found.pixels is not None
    assert found.pixels.size == VALUES.nbytes
    if syntax != DEFLATED:
        raw = path.read_bytes()[found.pixels.offset : found.pixels.end]
        assert raw == VALUES.tobytes()
    assert open_dataset(path).Modality == "CT"
    assert list(open_dataset(path, ["Rows", "StudyID"]).keys()) == [0x00280010]


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_a_preamble_is_not_needed(tmp_path, syntax):
    whole = write_bytes(VALUES, syntax)
    with_header = save(tmp_path, whole[132:], "header")
    bare = save(tmp_path, whole[check_structure(save(tmp_path, whole)).start :], "bare")
    for path in (with_header, bare):
        found = check_structure(path)
        assert (found.has_preamble, found.transfer_syntax_uid) == (False, syntax)
        assert found.pixels is not None
        assert found.pixels.size == VALUES.nbytes


@pytest.mark.parametrize("content", [b"", b"x" * 500, b"\0" * 500, b"<html>" * 100, b"\x89PNG\r\n\x1a\n" * 40, b"DICM"])
def test_other_files_are_none(tmp_path, content):
    path = save(tmp_path, content)
    with pytest.raises(FormatError):
        check_structure(path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_that_ends_anywhere_is_refused(tmp_path, syntax):
    whole = pack(nested(2, undefined=syntax != ExplicitVRLittleEndian), syntax)
    ends = 0
    for count in range(1, len(whole), 3):
        path = save(tmp_path, whole[:count])
        try:
            assert check_structure(path).pixels is None  # cut between two elements: nothing in it tells
            ends += 1
        except FormatError:
            pass
    assert ends <= 20


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("depth", [2000, 100_000])
def test_endless_nesting_is_refused(tmp_path, implicit, depth):
    with pytest.raises(FormatError, match="more than 64 sequences within one another") as caught:
        check_structure(save(tmp_path, nest_bytes(depth, implicit)))
    assert caught.value.code == "too_deep"
    assert check_structure(save(tmp_path, nest_bytes(60, implicit))).depth == 60


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES[:2])
def test_nesting_with_and_without_lengths_is_counted_alike(tmp_path, syntax, undefined):
    assert check_structure(save(tmp_path, pack(nested(40, undefined), syntax))).depth == 40
    with pytest.raises(FormatError, match="64 sequences"):
        check_structure(save(tmp_path, pack(nested(70, undefined), syntax)))


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFF0, 1000])
@pytest.mark.parametrize("kind", [b"UN", b"OB", b"SQ", b"UT", b"implicit"])
def test_lengths_beyond_the_file_are_refused(tmp_path, length, kind):
    syntax = ImplicitVRLittleEndian if kind == b"implicit" else ExplicitVRLittleEndian
    head = b"\x41\x00\x10\x10" + (b"" if kind == b"implicit" else kind + b"\0\0") + struct.pack("<I", length)
    with pytest.raises(FormatError, match="truncated or damaged") as caught:
        check_structure(save(tmp_path, pack(make_dataset(VALUES), syntax) + head + b"abcd"))
    assert caught.value.code == "truncated"


def test_an_item_does_not_reach_beyond_its_sequence(tmp_path):
    sequence = b"\x40\x00\x30\xa7SQ\0\0" + struct.pack("<I", 16) + b"\xfe\xff\x00\xe0" + struct.pack("<I", 100)
    with pytest.raises(FormatError, match="an item of 100 bytes, 8 are there"):
        check_structure(save(tmp_path, pack(make_dataset(VALUES), ExplicitVRLittleEndian) + sequence + b"\0" * 200))


def test_an_item_without_types_in_a_file_with_them(tmp_path):
    """Some writers change to implicit within sequences; pydicom then reads the whole item so."""
    first = b"\x08\x00\x60\x00" + struct.pack("<I", 2) + b"CT"
    other = b"\x08\x00\x70\x00" + struct.pack("<I", 0x4E55) + b"a" * 0x4E55  # a length that reads like the type UN
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(first + other)) + first + other
    sequence = b"\x40\x00\x30\xa7SQ\0\0" + struct.pack("<I", len(item)) + item
    path = save(tmp_path, pack(make_dataset(VALUES), ExplicitVRLittleEndian) + sequence)
    check_structure(path)
    with quiet():
        assert open_dataset(path).ContentSequence[0].Manufacturer == "a" * 0x4E55


def test_value_representations_of_no_edition(tmp_path):
    plain = pack(make_dataset(VALUES), ExplicitVRLittleEndian)
    private = b"\x41\x00\x10\x10ZZ" + struct.pack("<H", 4) + b"abcd"
    switched = b"\x41\x00\x11\x10" + struct.pack("<I", 4) + b"abcd"  # implicit in the midst of an explicit file
    before = check_structure(save(tmp_path, plain)).elements
    assert check_structure(save(tmp_path, plain + private + switched)).elements == before + 2
    with pytest.raises(FormatError):
        check_structure(save(tmp_path, plain + private[:6] + b"\xff\xff" + b"abcd"))


def test_a_padded_last_block_is_no_element(tmp_path):
    plain = pack(make_dataset(VALUES), ExplicitVRLittleEndian)
    for count in (1, 7, 8, 100, 5000):
        assert check_structure(save(tmp_path, plain + b"\0" * count)).pixels is None


def test_damaged_bytes_are_refused_or_parsed(tmp_path):
    rng = np.random.default_rng(5)
    whole = np.frombuffer(pack(nested(2, undefined=True), ExplicitVRLittleEndian), np.uint8)
    refused = 0
    for _ in range(400):
        data = whole.copy()
        places = rng.integers(128, len(data), rng.integers(1, 6))
        data[places] = rng.integers(0, 256, len(places))
        path = save(tmp_path, data.tobytes())
        try:
            open_dataset(path)
        except MedsegError:
            refused += 1
    assert 50 < refused < 400


def test_a_deflated_bomb_is_refused(tmp_path, monkeypatch):
    path = save(tmp_path, write_bytes(np.zeros((4000, 5000), np.uint16), DEFLATED))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(guard, "read_free_bytes", lambda: 7 * 10**7)
    with pytest.raises(ResourceError, match="GB are free"):
        check_structure(path)


def test_nothing_is_said_of_values_that_pydicom_doubts(tmp_path):
    dataset = make_dataset(VALUES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.add_new("PatientName", "PN", "<script>^" + "x" * 100)
        dataset.add_new("StudyInstanceUID", "UI", "../../etc")
        path = save(tmp_path, pack(dataset, ExplicitVRLittleEndian))
    open_dataset(path)  # warnings are errors


def test_offsets_are_those_that_pydicom_finds(tmp_path):
    path = save(tmp_path, write_bytes(VALUES))
    element = pydicom.dcmread(path).get_item("PixelData")
    assert check_structure(path).pixels.offset == element.value_tell
