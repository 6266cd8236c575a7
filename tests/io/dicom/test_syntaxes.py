"""Every transfer syntax that DICOM knows, and odd ones: right, right within the loss it states, or refused by name."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import AllTransferSyntaxes

from medseg.core.errors import FormatError
from medseg.io.dicom.compressed import COMPRESSED_SYNTAXES
from medseg.io.dicom.encoding import NATIVE_SYNTAXES
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.pixels import read_frames
from tests.io.dicom.plane_files import header_of, write_bytes, write_compressed
from tests.io.dicom.test_compressed import draw, encode_jpeg

BASE = "1.2.840.10008.1.2"
# Codestreams of the plane of ``make_ramp`` by OpenJPH and libjpeg-turbo with 12 bits, which medseg does not install.
HIGH_THROUGHPUT_U1 = (
    "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wAEyBIUFBQUFBQUFBQ"
    "UFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJQAAf+TwCW3AQd0AADAEsASgPwAh3QA5gAHdADAFRAEcASAlYoA8ACCtAAA"
    "4wD+ACMAwBWwBPAEgP8wgKBWOEMfzCKxtwCqqsBJvrUAwAdUAMAtWAWjAK1/CMb8gZh/YMwPte3DJUHmALB17AAAAImQEAVzTXu2b8335n7sAAAA"
    "/BK9uFpNarlV2gD/2Q=="
)
HIGH_THROUGHPUT_U2 = (
    "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAK4AAf+TwAAmvfsFB3QAAMAAEsAAEwDmAod0AHj+Agd0AMAAFVAABKBf+QoP"
    "ePABgrQAc/4yMwDAABakAAFU1/V6XXGFRhpdrys0+gz+Y4ixtwCkpKSkwCEBvrYAwAAuwgABaIBVa1VVVVVVqMCHT9VaVVVVVRUq8OFTtVZVVVVV"
    "hQp8+PwAZ2v1l87X6y4hLGoxvwBIBEEQBEH++gQge/YQgey6AP/Z"
)
HIGH_THROUGHPUT_I2 = (
    "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAK0AAf+TwAAl/QGHdAAAwAASwAATAOYCh3QAeP4CB3QAwAAVUAAEoF/5Cg94"
    "8AGCtABz/jIzAMAAFqQAAVTX9XpdcYVGGl2vKzT6DP5jiLG3AKSkpKTAIQG+tgDAAC7CAAFogFVrVVVVVVWowIdP1VpVVVVVFSrw4VO1VlVVVVWF"
    "Cnz4/ABna/WXztfrLiEsajG/AEgEQRAEQf76BCB79hCB7LoA/9k="
)
HIGH_THROUGHPUT_LOSSY = (
    "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAAI/9SAAwAAgABAAUEBEAA/1wAIyJ/dH9Ff0V/F3dc"
    "d1x3PW+qb6pvwlg1WDVYeFAaUBpfv/9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAABOAAH/k8AAmBHBBId0AADAASwAEoDuAId0APoA"
    "x3QAwAJwKXH+AAK0AMAKiAEoiR3+gHMitQDwwAdUAMATgMDnlPTydgD/2Q=="
)
JPEG_12_BITS = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgICAgIDAwQDAwMDAwICAwQDAwQEBAQEAgMFBQQE"
    "BQQEBAT/wQALDAAMABABAREA/8QAFAABAAAAAAAAAAAAAAAAAAAADv/EACcQAAACBQ0AAAAAAAAAAAAAAAADBQcICUcKCw0ZJicpQ0VUYmNk/9oA"
    "CAEBAAA/ABQfNQkldxiWbLuIsInSvcTxClAo39kruMS4du4iwrfSvcjeIPRs1CO8WWq4lmywkWETmk74nqClAo39d4stVxLh2wkWFb5pO+RvUP/Z"
)


def make_ramp(dtype: str) -> NDArray[np.generic]:
    """The plane whose codestreams stand above."""
    rows, columns = np.indices((12, 16))
    values = rows * 37 + columns**2 * 11
    return {"u1": values // 16, "u2": values, "i2": values - 800}[dtype].astype(dtype)


def read_codestream(folder: Path, text: str, syntax: str, dtype: str, **changes: object) -> NDArray[np.generic]:
    plane = make_ramp(dtype)
    header = write_compressed(folder / "a", plane, syntax, [base64.b64decode(text)], **changes)
    return read_frames([header]).array[:, :, 0].T


@pytest.mark.parametrize("syntax", [f"{BASE}.4.201", f"{BASE}.4.202", f"{BASE}.4.203"])
@pytest.mark.parametrize(
    ("text", "dtype"), [(HIGH_THROUGHPUT_U1, "u1"), (HIGH_THROUGHPUT_U2, "u2"), (HIGH_THROUGHPUT_I2, "i2")]
)
def test_high_throughput_jpeg_2000(tmp_path: Path, syntax: str, text: str, dtype: str) -> None:
    np.testing.assert_array_equal(read_codestream(tmp_path, text, syntax, dtype), make_ramp(dtype))


def test_high_throughput_jpeg_2000_with_loss(tmp_path: Path) -> None:
    found = read_codestream(tmp_path, HIGH_THROUGHPUT_LOSSY, f"{BASE}.4.203", "u2").astype(int)
    assert 0 < np.abs(found - make_ramp("u2")).max() <= 75  # 71 by OpenJPH's own decoder


@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_jpeg_of_12_bits(tmp_path: Path, dtype: str) -> None:
    """Its decoder ends within a step of libjpeg's; two's complement lies in it as it is."""
    found = read_codestream(tmp_path, JPEG_12_BITS, f"{BASE}.4.51", dtype, BitsStored=12)
    expected = make_ramp("u2").astype(int)
    if dtype == "i2":
        expected = np.where(expected >= 2048, expected - 4096, expected)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("near", [1, 3])
@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16)])
def test_near_lossless_jpeg_ls(tmp_path: Path, near: int, dtype: str, bits: int) -> None:
    from jpeg_ls import encode_array

    plane = draw(dtype, bits)
    data = bytes(encode_array(plane, lossy_error=near))
    stream = data + b"\0" * (len(data) % 2)
    header = write_compressed(tmp_path / "a", plane, f"{BASE}.4.81", [stream], BitsStored=bits)
    stack = read_frames([header])
    difference = np.abs(stack.array[:, :, 0].T.astype(int) - plane)
    assert 0 < difference.max() <= near
    assert any("JPEG-LS" in note for note in stack.notes)


def test_jpeg_2000_with_loss(tmp_path: Path) -> None:
    from openjpeg.utils import encode_array

    plane = draw("u2", 12)
    data = bytes(encode_array(plane, photometric_interpretation=2, bits_stored=12, compression_ratios=[4]))
    header = write_compressed(tmp_path / "a", plane, f"{BASE}.4.91", [data + b"\0" * (len(data) % 2)], BitsStored=12)
    stack = read_frames([header])
    assert 0 < np.abs(stack.array[:, :, 0].T.astype(int) - plane).max() < 200
    assert any("loss" in note for note in stack.notes)


@pytest.mark.parametrize("syntax", [f"{BASE}.4.57", f"{BASE}.4.70"])
def test_lossless_jpeg_by_both_names(tmp_path: Path, syntax: str) -> None:
    plane = draw("u2", 16)
    stack = read_frames([write_compressed(tmp_path / "a", plane, syntax, [encode_jpeg(plane, 16)])])
    np.testing.assert_array_equal(stack.array[:, :, 0], plane.T)
    assert stack.notes == ()


@pytest.mark.parametrize(
    ("name", "places"), [("JPEG-lossy.dcm", {(420, 140): 244, (230, 120): 95}), ("JPGExtended.dcm", {(420, 140): 244})]
)
def test_files_of_others(name: str, places: dict[tuple[int, int], int]) -> None:
    """12-bit JPEG of scanners, which pydicom's own tests know the values of."""
    path = get_testdata_file(name)
    assert isinstance(path, str)
    array = read_frames([header_of(Path(path))]).array[:, :, 0].T
    assert array.shape == (1024, 256)
    assert {place: array[place] for place in places} == places


def write_plain(path: Path, plane: NDArray[np.generic], syntax: str) -> FrameHeader:
    """Write a file with uncompressed pixels that says they are written otherwise, which pydicom would not do."""
    path.write_bytes(rename_syntax(write_bytes(plane), syntax))
    return header_of(path)


def rename_syntax(content: bytes, syntax: str) -> bytes:
    """A file that states another transfer syntax."""
    element, uid = b"\2\0\x10\0UI", syntax.encode() + b"\0" * (len(syntax) % 2)
    at = content.index(element)
    size = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[:at] + element + len(uid).to_bytes(2, "little") + uid + content[at + 8 + size :]


REFUSED = {
    "1.2.840.113619.5.2": "GE", **{f"{BASE}.4.{last}": "JPEG" for last in (52, 53, 54, 55, 56, 58, 59, 60, 61, 62, 63)},
    **{f"{BASE}.4.{last}": "JPEG" for last in (64, 65, 66)}, f"{BASE}.4.92": "JPEG 2000 Part 2",
    f"{BASE}.4.93": "JPEG 2000 Part 2", f"{BASE}.4.94": "JPIP", f"{BASE}.4.95": "JPIP", f"{BASE}.4.100": "MPEG2",
    f"{BASE}.4.102": "MPEG-4", f"{BASE}.4.107": "HEVC", f"{BASE}.4.110": "JPEG XL", f"{BASE}.4.112": "JPEG XL",
    f"{BASE}.4.204": "JPIP",
    f"{BASE}.4.205": "JPIP", f"{BASE}.8.1": "Deflated Image Frame", "1.2.3.4": "1.2.3.4",
}  # fmt: skip


@pytest.mark.parametrize("syntax", REFUSED)
@pytest.mark.parametrize("packed", [True, False])
def test_other_syntaxes_are_refused_by_name(tmp_path: Path, syntax: str, packed: bool) -> None:
    """Pixels that look plain are refused too: those of a private syntax may lie in another order."""
    plane = draw("u2", 16, (8, 8))
    if packed:
        write_compressed(tmp_path / "a", plane, f"{BASE}.4.90", [bytes(64)])
        (tmp_path / "a").write_bytes(rename_syntax((tmp_path / "a").read_bytes(), syntax))
        header = header_of(tmp_path / "a")
    else:
        header = write_plain(tmp_path / "a", plane, syntax)
    with pytest.raises(FormatError) as caught:
        read_frames([header])
    assert caught.value.code == "unknown_syntax"
    assert REFUSED[syntax] in caught.value.reason
    assert syntax in caught.value.reason


def test_all_that_the_standard_names_is_tried() -> None:
    """Those that are read, those above, and films and messages, which no series of slices is written in."""
    films = {uid for uid in AllTransferSyntaxes if any(word in uid.name for word in ("MPEG", "HEVC", "SMPTE"))}
    known = {*COMPRESSED_SYNTAXES, *NATIVE_SYNTAXES, *REFUSED, *films}
    assert [f"{uid.name} {uid}" for uid in AllTransferSyntaxes if str(uid) not in known] == []


def test_plain_pixels_of_a_file_that_says_compressed(tmp_path: Path) -> None:
    """A writer's mistake that the size tells apart."""
    plane = draw("u2", 16, (8, 8))
    header = write_plain(tmp_path / "a", plane, f"{BASE}.4.70")
    np.testing.assert_array_equal(read_frames([header]).array[:, :, 0].T, plane)
