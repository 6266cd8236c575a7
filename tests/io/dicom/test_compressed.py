"""Compressed frames: exact in every lossless syntax; damaged ones, and decoders that die, are one refused file."""

import struct
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medseg.compute.child import end_children
from medseg.core.errors import FormatError
from medseg.io.dicom import compressed
from medseg.io.dicom.bytes_window import Window
from medseg.io.dicom.codestream import inspect_codestream
from medseg.io.dicom.fragments import list_fragments, split_frames
from medseg.io.dicom.pixels import read_frames
from tests.io.dicom.plane_files import write_compressed

RNG = np.random.default_rng(0)
SYNTAXES = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
DYING = """
import os, signal
from medseg.compute.child import serve
from medseg.io.dicom.pixel_child import decode_batch

def answer(request):
    names = [name for name, _ in request["frames"]]
    if any("killer" in name for name in names):
        os.kill(os.getpid(), signal.SIGSEGV)
    if any("glutton" in name for name in names):
        bytearray(1 << 36)
    content, raw = decode_batch(request)
    return content, raw[2:] if any("liar" in name for name in names) else raw

serve(answer)
"""


def draw(dtype, bits, shape=(70, 64)):
    """A smooth plane with noise, over all that the bits hold."""
    values = np.cumsum(RNG.integers(-3, 4, shape), axis=0) + RNG.integers(0, 3, shape)
    values = (values - values.min()) * ((1 << bits) - 1) // np.ptp(values)
    return (values - (1 << (bits - 1)) if np.dtype(dtype).kind == "i" else values).astype(dtype)


def encode(stored, syntax, bits):
    if syntax == JPEGLSLossless:  # it knows no negative values: two's complement lies in it as it is
        stored = stored.view(f"u{stored.itemsize}") & ((1 << bits) - 1)
    return get_encoder(syntax).encode(
        stored, rows=stored.shape[0], columns=stored.shape[1], samples_per_pixel=1, number_of_frames=1,
        bits_allocated=8 * stored.itemsize, bits_stored=bits, photometric_interpretation="MONOCHROME2",
        pixel_representation=int(stored.dtype.kind == "i"),
    )  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)])
def test_lossless_frames_come_back(tmp_path, syntax, dtype, bits):
    planes = [draw(dtype, bits) for _ in range(3)]
    frames = [
        write_compressed(tmp_path / str(k), plane, syntax, [encode(plane, syntax, bits)], BitsStored=bits)
        for k, plane in enumerate(planes)
    ]
    array = read_frames(frames).array
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.stack(planes).transpose(2, 1, 0))


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 16), ("i2", 12)])
def test_lossless_jpeg(tmp_path, dtype, bits):
    plane = draw(dtype, bits)
    header = write_compressed(tmp_path / "a", plane, JPEGLosslessSV1, [encode_jpeg(plane, bits)], BitsStored=bits)
    np.testing.assert_array_equal(read_frames([header]).array[:, :, 0], plane.T)


def test_lossy_jpeg_of_grey_levels(tmp_path):
    plane = draw("u1", 8)
    buffer = BytesIO()
    Image.fromarray(plane).save(buffer, "JPEG", quality=90)
    data = buffer.getvalue()
    header = write_compressed(tmp_path / "a", plane, JPEGBaseline8Bit, [data + b"\0" * (len(data) % 2)])
    difference = read_frames([header]).array[:, :, 0].T.astype(int) - np.asarray(Image.open(buffer)).astype(int)
    assert np.abs(difference).max() <= 2


def encode_jpeg(plane, bits):
    """Lossless JPEG with the value to the left as prediction (ITU-T T.81, annex H); every category has a 5-bit code."""
    words = plane.astype(np.int64) & ((1 << bits) - 1)
    guess = np.empty_like(words)
    guess[:, 1:], guess[1:, 0], guess[0, 0] = words[:, :-1], words[:-1, 0], 1 << (bits - 1)
    steps = (words - guess + 32768) % 65536 - 32768
    text = ""
    for step in steps.ravel().tolist():
        size = 16 if step == -32768 else abs(step).bit_length()
        text += f"{size:05b}"
        if 0 < size < 16:
            text += f"{step if step > 0 else step + (1 << size) - 1:0{size}b}"
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    rows, columns = plane.shape
    frame = struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0)
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    parts = [(0xC3, frame), (0xC4, table), (0xDA, bytes([1, 1, 0, 1, 0, 0]))]
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in parts)
    whole = b"\xff\xd8" + head + scan + b"\xff\xd9"
    return whole + b"\0" * (len(whole) % 2)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_one_file(tmp_path, syntax):
    planes = np.stack([draw("u2", 16) for _ in range(4)])
    header = write_compressed(tmp_path / "a", planes, syntax, [encode(plane, syntax, 16) for plane in planes])
    frames = [replace(header, number=number) for number in (4, 1, 2)]
    np.testing.assert_array_equal(read_frames(frames).array, planes[[3, 0, 1]].transpose(2, 1, 0))


def test_mixed_with_plain_planes_and_batches(tmp_path, monkeypatch):
    from tests.io.dicom.plane_files import write_plane

    monkeypatch.setattr(compressed, "_BATCH_BYTES", 20_000)
    planes = [draw("u2", 12) for _ in range(7)]
    frames = [
        write_plane(tmp_path / str(k), plane)
        if k == 3
        else write_compressed(
            tmp_path / str(k), plane, SYNTAXES[k % 3], [encode(plane, SYNTAXES[k % 3], 12)], BitsStored=12
        )
        for k, plane in enumerate(planes)
    ]
    np.testing.assert_array_equal(read_frames(frames).array, np.stack(planes).transpose(2, 1, 0))


def wrap(parts, table=b""):
    """Fragments as they lie in a file, and a window on them."""
    data = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(part)) + part for part in (table, *parts))
    return Window.of_bytes(data + b"\xfe\xff\xdd\xe0\0\0\0\0", "a")


def sizes_of(window, frames):
    return [[part.size for part in frame] for frame in split_frames(window, list_fragments(window, 0)[0], frames)]


def test_fragments_are_dealt_to_their_frames():
    start, rest = b"\xff\xd8\xff\xe0" + b"a" * 6, b"b" * 4
    assert sizes_of(wrap([start, rest, rest]), 1) == [[10, 4, 4]]
    assert sizes_of(wrap([start, rest, start]), 3) == [[10], [4], [10]]
    assert sizes_of(wrap([start, rest, start, start]), 3) == [[10, 4], [10], [10]]
    assert sizes_of(wrap([rest, rest, rest], struct.pack("<II", 0, 24)), 2) == [[4, 4], [4]]
    assert sizes_of(wrap([start, rest, start], struct.pack("<II", 7, 9)), 2) == [[10, 4], [10]]  # a table of nonsense


@pytest.mark.parametrize(("count", "frames"), [(3, 4), (3, 2), (0, 1)])
def test_another_number_of_frames_is_refused(count, frames):
    with pytest.raises(FormatError, match=f"{frames} compressed frames expected") as caught:
        sizes_of(wrap([b"abcd"] * count), frames)
    assert caught.value.code == "frame_count"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_frame_that_breaks_off_is_refused(tmp_path, syntax):
    plane = draw("u2", 16)
    whole = encode(plane, syntax, 16)
    for count in (3, 30, 70, len(whole) // 2, len(whole) - 4):
        header = write_compressed(tmp_path / "a", plane, syntax, [whole[: count // 2 * 2]])
        with pytest.raises(FormatError, match="cannot be decoded") as caught:
            read_frames([header])
        assert caught.value.code == "corrupt"
        assert caught.value.file == str(tmp_path / "a")


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_a_frame_that_lacks_a_part_before_its_end_is_refused(tmp_path, syntax):
    """Decoders of lossless JPEG fill up what is missing and say so on the console alone."""
    plane = draw("u2", 16)
    whole = (encode_jpeg(plane, 16) if syntax == JPEGLosslessSV1 else encode(plane, syntax, 16)).rstrip(b"\0")
    for share in (0.02, 0.3, 0.8):
        cut = whole[: int(len(whole) * (1 - share)) // 2 * 2] + b"\xff\xd9"
        header = write_compressed(tmp_path / "a", plane, syntax, [cut])
        with pytest.raises(FormatError, match="cannot be decoded"):
            read_frames([header])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_frame_of_another_size_is_refused(tmp_path, syntax):
    plane = draw("u2", 16)
    header = write_compressed(tmp_path / "a", plane, syntax, [encode(plane[:-3], syntax, 16)])
    with pytest.raises(FormatError, match=r"67 rows, 64 columns|does not hold 4480 values"):
        read_frames([header])


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_damaged_frames_are_refused_or_decoded(tmp_path, syntax):
    plane = draw("u2", 16)
    whole = np.frombuffer(encode(plane, syntax, 16), np.uint8)
    for _ in range(25):
        data = whole.copy()
        places = RNG.integers(2, len(data) - 2, 8)
        data[places] = RNG.integers(0, 256, 8)
        header = write_compressed(tmp_path / "a", plane, syntax, [data.tobytes()])
        try:
            assert read_frames([header]).array.shape == (64, 70, 1)
        except FormatError as error:
            assert error.code in ("corrupt", "decoder_died", "decoder_memory", "decoder_timeout")  # noqa: PT017


def test_what_a_codestream_declares():
    plane = draw("u2", 12)
    for syntax in (JPEGLSLossless, JPEG2000Lossless):
        assert inspect_codestream(encode(plane, syntax, 12), syntax) == (70, 64, 1, 12)
    for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"garbage\xff\xd9", b"\xff\xd8\xff\xda\0\4abcd\xff\xd9"):
        with pytest.raises(ValueError, match="compressed frame"):
            inspect_codestream(data, JPEGLSLossless)
    for data in (b"", b"\0" * 64, struct.pack("<16I", 2, 64, 60, *[0] * 13), struct.pack("<16I", 1, 64, *[0] * 14)):
        with pytest.raises(ValueError, match="compressed frame"):
            inspect_codestream(data, RLELossless)


@pytest.fixture
def dying(tmp_path, monkeypatch):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    monkeypatch.setattr(compressed, "SCRIPT", script)
    yield
    end_children()


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("killer", "decoder_died", "its decoder crashed: it was ended by SIGSEGV"),
        ("glutton", "decoder_memory", "ran out of memory"),
        ("liar", "corrupt", r"its decoder gave \d+ bytes, expected 8960"),
    ],
)
def test_a_dying_decoder_names_its_file(dying, tmp_path, name, code, text):
    planes = [draw("u2", 16) for _ in range(3)]
    names = ["sound", name, "other"]
    frames = [
        write_compressed(tmp_path / name, plane, RLELossless, [encode(plane, RLELossless, 16)])
        for name, plane in zip(names, planes, strict=True)
    ]
    if name != "liar":
        with pytest.raises(FormatError, match=text) as caught:
            read_frames(frames)
        assert caught.value.file == str(tmp_path / name)
        assert caught.value.code == code
    with pytest.raises(FormatError, match=text):
        read_frames(frames[1:2])
    np.testing.assert_array_equal(read_frames(frames[::2]).array, np.stack(planes[::2]).transpose(2, 1, 0))


def test_a_syntax_stated_for_plain_pixels(tmp_path):
    """Archives decompress pixels in place now and then and leave the transfer syntax as it was."""
    from tests.io.dicom.plane_files import write_plane

    stored = draw("u2", 16)
    header = write_plane(tmp_path / "a", stored)
    said = replace(header, pixels=replace(header.pixels, transfer_syntax_uid=str(JPEGLSLossless)))
    np.testing.assert_array_equal(read_frames([said]).array[:, :, 0], stored.T)
    odd = replace(said, pixels=replace(said.pixels, rows=60))
    with pytest.raises(FormatError, match="do not lie in fragments"):
        read_frames([odd])
