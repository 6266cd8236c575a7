"""Pixels of one file or several: exact in every uncompressed syntax, scaled plane by plane, padding told apart."""

from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medseg.core.errors import FormatError, MedsegError, ResourceError
from medseg.io import guard
from medseg.io.dicom.pixels import read_frames
from tests.io.dicom.plane_files import DEFLATED, header_of, write_bytes, write_plane

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DEFLATED)
RNG = np.random.default_rng(0)


def draw(dtype, shape=(5, 7)):
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4"])
def test_stored_values_come_back(tmp_path, syntax, dtype):
    stored = draw(np.dtype(dtype), (6, 7))
    stack = read_frames([write_plane(tmp_path / "a", stored, syntax)])
    assert stack.array.dtype == dtype
    np.testing.assert_array_equal(stack.array[:, :, 0], stored.T)
    assert (stack.padded_voxels, stack.notes) == (0, ())


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_one_file_in_any_order(tmp_path, syntax):
    stored = draw(np.uint16, (4, 5, 7))
    header = write_plane(tmp_path / "a", stored, syntax)
    frames = [replace(header, number=number) for number in (3, 1, 4)]
    np.testing.assert_array_equal(read_frames(frames).array, stored[[2, 0, 3]].transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_real_stored_values(tmp_path, dtype, syntax):
    stored = RNG.normal(size=(5, 7)).astype(dtype)
    stack = read_frames([write_plane(tmp_path / "a", stored, syntax)])
    assert stack.array.dtype == np.float32
    np.testing.assert_array_equal(stack.array[:, :, 0], stored.T.astype(np.float32))
    stored[2, 3] = np.nan
    with pytest.raises(FormatError, match="1 voxels are NaN"):
        read_frames([write_plane(tmp_path / "a", stored, syntax)])


@pytest.mark.parametrize("dtype", ["u2", "i2"])
@pytest.mark.parametrize(("bits", "high_bit"), [(12, 11), (12, 15), (10, 11), (1, 0), (16, 15)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_bits_beside_the_values_do_not_count(tmp_path, dtype, bits, high_bit, syntax):
    values = RNG.integers(0, 1 << bits, (5, 7))
    words = (values << (high_bit + 1 - bits)).astype(np.uint32)
    mask = ((1 << bits) - 1) << (high_bit + 1 - bits)
    words |= RNG.integers(0, 1 << 16, (5, 7)).astype(np.uint32) & ~np.uint32(mask)
    expected = np.where(values >= 1 << (bits - 1), values - (1 << bits), values) if dtype == "i2" else values
    stored = (words & 0xFFFF).astype(np.uint16).view(dtype)
    header = write_plane(tmp_path / "a", stored, syntax, BitsStored=bits, HighBit=high_bit)
    np.testing.assert_array_equal(read_frames([header]).array[:, :, 0], expected.T)


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected"),
    [
        ("u2", 1, -1024, "i4"), ("i2", 1, -1024, "i4"), ("u1", 1, -1024, "i2"), ("u1", 2, 0, "i2"),
        ("u1", 300, 0, "i4"), ("u1", -1, 255, "u1"), ("u1", 1, 40000, "u2"), ("i2", -3, 7, "i4"), ("u2", 0.5, 0, "f4"),
        ("u2", 1, 0.25, "f4"), ("i2", 1e6, 0, "f4"),
    ],
)  # fmt: skip
def test_scaled_values_in_the_smallest_type(tmp_path, dtype, slope, intercept, expected):
    stored = draw(np.dtype(dtype))
    stored[0, 0], stored[0, 1] = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = read_frames([write_plane(tmp_path / "a", stored, RescaleSlope=slope, RescaleIntercept=intercept)]).array
    assert array.dtype == expected
    truth = stored.T.astype(np.float64) * slope + intercept
    np.testing.assert_allclose(array[:, :, 0], truth, rtol=1e-7 if expected == "f4" else 0)


def test_values_that_happen_to_fit_stay_small(tmp_path):
    stored = RNG.integers(0, 4096, (5, 7)).astype(np.uint16)
    array = read_frames([write_plane(tmp_path / "a", stored, RescaleSlope=1, RescaleIntercept=-1024)]).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array[:, :, 0], stored.T.astype(int) - 1024)


def test_every_plane_has_its_own_scale(tmp_path):
    stored = [draw(np.int16) for _ in range(4)]
    slopes = [0.5, 0.25, 3.0, 1.75]
    frames = [
        write_plane(tmp_path / str(k), plane, RescaleSlope=slope, RescaleIntercept=k)
        for k, (plane, slope) in enumerate(zip(stored, slopes, strict=True))
    ]
    array = read_frames(frames).array
    for k, (plane, slope) in enumerate(zip(stored, slopes, strict=True)):
        np.testing.assert_allclose(array[:, :, k], plane.T * slope + k, rtol=1e-6)


def test_planes_of_mixed_types(tmp_path):
    planes = [draw(np.int16), draw(np.uint16), draw(np.uint8)]
    syntaxes = [ExplicitVRLittleEndian, ExplicitVRBigEndian, DEFLATED]
    frames = [write_plane(tmp_path / str(k), *pair) for k, pair in enumerate(zip(planes, syntaxes, strict=True))]
    array = read_frames(frames).array
    assert array.dtype == np.int32
    for k, plane in enumerate(planes):
        np.testing.assert_array_equal(array[:, :, k], plane.T)


def test_whole_and_real_stored_values_in_one_stack(tmp_path):
    whole, real = np.arange(-17, 18, dtype=np.int16).reshape(5, 7), RNG.normal(size=(5, 7)).astype(np.float32)
    frames = [write_plane(tmp_path / "a", whole, PixelPaddingValue=0), write_plane(tmp_path / "b", real)]
    stack = read_frames(frames)
    np.testing.assert_array_equal(stack.array[:, :, 0], whole.T)
    np.testing.assert_array_equal(stack.array[:, :, 1], real.T)
    assert stack.padded_voxels == 0


def test_monochrome_1_is_left_as_stored(tmp_path):
    stored = draw(np.uint16)
    header = write_plane(tmp_path / "a", stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_frames([header]).array[:, :, 0], stored.T)


def padded(dtype, value, corner=2):
    """Values from -900 or 100 on, with a corner of padding."""
    low = -900 if np.dtype(dtype).kind == "i" else 100
    stored = np.arange(low, low + 35).reshape(5, 7).astype(dtype)
    stored[:corner, :corner] = value
    return stored


@pytest.mark.parametrize(
    ("dtype", "value", "stated"),
    [
        ("i2", -2000, -2000), ("i2", -2000, 63536), ("u2", 63536, -2000), ("u2", 65535, 65535), ("u2", 0, 0),
        ("i2", 3000, 3000),
    ],
)  # fmt: skip
def test_padding_becomes_the_lowest_value(tmp_path, dtype, value, stated):
    stored = [padded(dtype, value), padded(dtype, value, corner=3)]
    frames = [
        write_plane(tmp_path / str(k), plane, RescaleSlope=2, RescaleIntercept=-5 - k, PixelPaddingValue=stated % 65536
                    if dtype == "u2" else (stated + 32768) % 65536 - 32768)
        for k, plane in enumerate(stored)
    ]  # fmt: skip
    stack = read_frames(frames)
    assert stack.padded_voxels == 4 + 9
    measured = [plane.T.astype(int) * 2 - 5 - k for k, plane in enumerate(stored)]
    lowest = min(plane[value != part.T].min() for plane, part in zip(measured, stored, strict=True))
    for k, plane in enumerate(measured):
        plane[value == stored[k].T] = lowest
        np.testing.assert_array_equal(stack.array[:, :, k], plane)


def test_padding_that_the_stored_bits_cannot_hold(tmp_path):
    stored = RNG.integers(1, 4096, (5, 7)).astype(np.uint16)
    stored[0] = 63536  # -2000 as it lies in 16 bits; in 12 bits it would be 2096
    stack = read_frames([write_plane(tmp_path / "a", stored, BitsStored=12, HighBit=11, PixelPaddingValue=63536)])
    expected = stored.copy()
    expected[0] = stored[1:].min()
    np.testing.assert_array_equal(stack.array[:, :, 0], expected.T)
    assert stack.padded_voxels == 7


def test_a_range_of_padding(tmp_path):
    stored = padded(np.int16, -1500)
    stored[4, 6] = -1024
    stack = read_frames([write_plane(tmp_path / "a", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1024)])
    assert stack.padded_voxels == 5
    assert stack.array.min() == -898  # -900 and -899 lay under the corner
    assert stack.array[6, 4, 0] == stack.array[0, 0, 0] == -898


def test_padding_within_the_values_but_apart_from_them(tmp_path):
    stored = RNG.choice(np.array([-3024, -1000, -500, 40], np.int16), (5, 7))
    stored[0, :4] = (-3024, -1000, -500, 40)
    stored[4] = -2000
    stack = read_frames([write_plane(tmp_path / "a", stored, PixelPaddingValue=-2000)])
    assert stack.padded_voxels == 7
    assert np.all(stack.array[:, 4, 0] == -3024)


def test_a_stated_padding_among_tissue_is_left_and_said(tmp_path):
    stored = np.arange(-17, 18, dtype=np.int16).reshape(5, 7)  # CT in HU with a padding value of 0
    stack = read_frames([write_plane(tmp_path / "a", stored, PixelPaddingValue=0)])
    np.testing.assert_array_equal(stack.array[:, :, 0], stored.T)
    assert stack.padded_voxels == 0
    said = "the padding value 0 of the header lies among the measured ones; its 1 voxels are left as they are"
    assert stack.notes == (said,)


def test_planes_of_nothing_but_padding(tmp_path):
    empty, full = np.full((5, 7), -2000, np.int16), padded(np.int16, -2000)
    frames = [write_plane(tmp_path / str(k), plane, PixelPaddingValue=-2000) for k, plane in enumerate([empty, full])]
    stack = read_frames(frames)
    assert stack.padded_voxels == 35 + 4
    assert np.all(stack.array[:, :, 0] == -898)
    alone = read_frames(frames[:1])
    assert alone.padded_voxels == 0
    assert "all voxels have the padding value -2000" in alone.notes[0]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pixels_that_do_not_fit_their_header(tmp_path, syntax):
    stored = draw(np.uint16, (6, 7)) | 1
    short = tmp_path / "short"
    short.write_bytes(write_bytes(stored, syntax, Rows=8))
    long = tmp_path / "long"
    long.write_bytes(write_bytes(stored, syntax, Columns=6))
    for path, code in ((short, "truncated"), (long, "wrong_size")):
        with pytest.raises(FormatError, match="bytes of pixels, expected") as caught:
            read_frames([unchecked(path)])
        assert caught.value.code == code


def unchecked(path):
    """A header as a file states it, where reading headers would already refuse it."""
    from pydicom import dcmread

    from medseg.io.dicom.headers import FrameHeader, PixelFormat

    dataset = dcmread(path)
    pixels = PixelFormat(str(dataset.file_meta.TransferSyntaxUID), dataset.Rows, dataset.Columns)
    return FrameHeader(path, 0, "1.2", "1.2", "1.2", "1.2", pixels=pixels)


def test_a_file_that_shrank_after_its_header_was_read(tmp_path):
    header = write_plane(tmp_path / "a", draw(np.uint16))
    header.path.write_bytes(header.path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="ends within its pixels"):
        read_frames([header])
    header.path.unlink()
    with pytest.raises(FormatError, match="No such file"):
        read_frames([header])


def test_zeros_after_the_pixels_are_padding(tmp_path):
    stored = draw(np.uint16, (6, 7))
    stored[5] = 0
    header = write_plane(tmp_path / "a", stored, Rows=5)
    np.testing.assert_array_equal(read_frames([header]).array[:, :, 0], stored[:5].T)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "Columns": 2}, "colours"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colours"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "bad_scale"),
    ],
)
def test_what_is_no_measurement_is_refused(tmp_path, changes, code):
    header = write_plane(tmp_path / "a", draw(np.uint16, (4, 6)), **changes)
    with pytest.raises(FormatError) as caught:
        read_frames([header])
    assert caught.value.code == code
    assert caught.value.file == str(header.path)


def test_planes_of_two_sizes_are_no_stack(tmp_path):
    frames = [write_plane(tmp_path / str(n), draw(np.uint16, (n, 7))) for n in (5, 6)]
    with pytest.raises(FormatError, match="7 x 6 pixels, expected 7 x 5"):
        read_frames(frames)
    with pytest.raises(FormatError, match="no planes"):
        read_frames([])


def test_a_syntax_that_nobody_decodes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(
        write_bytes(draw(np.uint16)).replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x14\x001.2.840.10008.1.2.77")
    )
    header = header_of(path)
    for odd in (header, replace(header, pixels=replace(header.pixels, size=None))):
        with pytest.raises(FormatError, match=r"written as 1\.2\.840\.10008\.1\.2\.77, which cannot be decoded"):
            read_frames([odd])


def test_more_than_the_memory_holds_is_refused(tmp_path, monkeypatch):
    header = write_plane(tmp_path / "a", draw(np.uint16, (500, 700)))
    monkeypatch.setattr(guard, "read_free_bytes", lambda: 10**8)
    with pytest.raises(ResourceError, match="GB are free"):
        read_frames([header] * 100)


def test_damaged_headers_are_refused_or_read(tmp_path):
    """Whatever the bytes: an error of ours or an array of the declared shape."""
    whole = np.frombuffer(
        write_bytes(draw(np.uint16), PixelPaddingValue=3, RescaleSlope=1, RescaleIntercept=-5), np.uint8
    )
    outcomes = set()
    for _ in range(300):
        data = whole.copy()
        places = RNG.integers(128, len(data), RNG.integers(1, 5))
        data[places] = RNG.integers(0, 256, len(places))
        path = tmp_path / "damaged"
        path.write_bytes(data.tobytes())
        try:
            header = unchecked_or_none(path)
            if header is not None:
                array = read_frames([header]).array
                assert array.shape == (header.pixels.columns, header.pixels.rows, 1)
                outcomes.add("read")
        except MedsegError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def unchecked_or_none(path):
    from medseg.io.dicom.header_reading import read_header

    return read_header(path).header


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_any_padding_anywhere(tmp_path, dtype):
    """Lowest values beside any range of padding, against picking the others out."""
    limits = np.iinfo(dtype)
    pool = np.unique(np.concatenate([draw(np.dtype(dtype), (4,)), np.array([limits.min, limits.max], dtype)]))
    for first in pool.tolist():
        for last in pool[pool >= first].tolist()[:3]:
            stored = RNG.choice(pool, (5, 7))
            header = write_plane(tmp_path / "a", stored)
            padded_header = replace(header, scale=replace(header.scale, padding=(first, last)))
            stack = read_frames([padded_header])
            is_padding = (stored >= first) & (stored <= last)
            if stack.notes or not is_padding.any():
                np.testing.assert_array_equal(stack.array[:, :, 0], stored.T)
                continue
            expected = np.where(is_padding, stored[~is_padding].min(), stored)
            np.testing.assert_array_equal(stack.array[:, :, 0], expected.T)
            assert stack.padded_voxels == is_padding.sum()
