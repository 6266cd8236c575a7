"""Segmentations of other writers, and damaged ones: right voxels or the exact reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless

from medseg.core.errors import DatasetError, FormatError, GeometryError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.io.dicom.seg_read import paint_segments, read_probabilities, read_seg, read_seg_mask
from medseg.io.dicom.seg_write import write_seg, write_seg_probabilities
from medseg.io.dicom.source import DicomSource
from medseg.io.nrrd import read_grid
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series

DATA = os.environ.get("MEDSEG_TEST_DATA")
DCMQI = Path(DATA or ".") / "data" / "dicom_odd" / "dcmqi" / "data"
needs_data = pytest.mark.skipif(not DATA, reason="MEDSEG_TEST_DATA is not set")


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, DicomSource, NDArray[Any]]:
    source = write_series(tmp_path / "series", make_geometry((13, 9, 7), oblique=True))
    mask = make_mask(source.geometry)
    write_seg(tmp_path / "seg.dcm", mask, LABELS, source)
    return tmp_path / "seg.dcm", source, mask.array


def change(path: Path, edit: Callable[[Any], None]) -> Path:
    content = pydicom.dcmread(path)
    edit(content)
    content.save_as(path.with_name("changed.dcm"))
    return path.with_name("changed.dcm")


@needs_data
@pytest.mark.parametrize("folder", ["24x38x3", "23x38x3"])
def test_a_seg_of_dcmqi_is_its_nrrd(folder: str) -> None:
    array, geometry = read_grid(DCMQI / "segmentations" / folder / "nrrd" / "label.nrrd")
    found = read_seg_mask(DCMQI / "segmentations" / folder / "seg" / "label.seg", like=geometry)
    assert np.array_equal(found.segmentation.array != 0, array[0] != 0)
    assert found.labels.names == ("Liver",)
    own = read_seg_mask(DCMQI / "segmentations" / folder / "seg" / "label.seg").segmentation
    assert np.count_nonzero(own.array) == np.count_nonzero(array)


@needs_data
@pytest.mark.parametrize(
    ("seg", "grid", "numbers"),
    [
        ("liver.dcm", "liver_seg.nrrd", (1,)),
        ("sparse-labelmap-ppv5.dcm", "sparse_labelmap_ppv5_seg.nrrd", (1,)),  # 5 is its background
        ("sparse-labelmap-noppv.dcm", "sparse_labelmap_noppv_seg.nrrd", (1,)),
        ("partial_overlaps.dcm", "partial_overlaps-1.nrrd", (1, 4, 5)),
        ("partial_overlaps.dcm", "partial_overlaps-2.nrrd", (2,)),
        ("partial_overlaps.dcm", "partial_overlaps-3.nrrd", (3,)),
    ],
)
def test_segs_of_dcmqi_are_their_nrrds(seg: str, grid: str, numbers: tuple[int, ...]) -> None:
    array, geometry = read_grid(DCMQI / "segmentations" / grid)
    content = read_seg(DCMQI / "segmentations" / seg)
    found = paint_segments(content, {number: number for number in numbers}, geometry).array
    assert np.array_equal(found, np.where(np.isin(array[0], numbers), array[0], 0))


@needs_data
def test_overlapping_segments_are_refused_unless_one_is_asked_for() -> None:
    path = DCMQI / "segmentations" / "partial_overlaps.dcm"
    with pytest.raises(DatasetError, match="overlap in 3134 voxels"):
        read_seg_mask(path)
    name = read_seg(path).segments[2].name
    found = read_seg_mask(path, labels=LabelScheme.make({name: 5}))
    assert set(np.unique(found.segmentation.array)) == {0, 5}
    assert any("segments of no label, left out" in note for note in found.notes)


@needs_data
def test_planes_without_frames_are_empty() -> None:
    content = read_seg(DCMQI / "sr-example" / "seg.dcm")
    assert content.segments[1].category is not None
    found = read_seg_mask(DCMQI / "sr-example" / "seg.dcm")
    assert found.segmentation.array.any(axis=(0, 1)).sum() == content.frames


@needs_data
@pytest.mark.parametrize(
    "name", ["segmentations/ct-3slice/01.dcm", "sr-example/sr.dcm", "paramaps/pm-example-slice.dcm"]
)
def test_what_is_no_segmentation_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="no DICOM segmentation"):
        read_seg(DCMQI / name)


def test_the_own_grid_is_part_of_the_series(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path, source, array = written
    own = read_seg_mask(path).segmentation
    index = source.geometry.to_index(own.geometry.to_world(np.argwhere(own.array)))
    assert np.abs(index - np.rint(index)).max() < 1e-6
    assert np.array_equal(np.sort(np.rint(index), axis=0), np.sort(np.argwhere(array), axis=0))
    assert own.geometry.shape[2] == np.ptp(np.flatnonzero(array.any(axis=(0, 1)))) + 1


def test_any_of_48_orders_of_axes(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path, source, array = written
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.zeros((4, 4))
        turn[3, 3] = 1
        for axis, (old, sign) in enumerate(zip(order, signs, strict=True)):
            turn[old, axis] = sign
            turn[old, 3] = 0 if sign > 0 else array.shape[old] - 1
        wanted = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
        like = Geometry(wanted.shape, source.geometry.affine @ turn)  # type: ignore[arg-type]
        assert np.array_equal(read_seg_mask(path, labels=LABELS, like=like).segmentation.array, wanted)


def test_names_codes_and_meanings(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path, source, array = written
    for name in ("LIVER", "sct:10200004", "Liver"):
        found = read_seg_mask(path, labels=LabelScheme.make({name: 9}), like=source.geometry)
        assert np.array_equal(found.segmentation.array == 9, array == 1)
    tumour = read_seg_mask(path, labels=LabelScheme.make({"neoplasm": 1}), like=source.geometry)
    assert np.array_equal(tumour.segmentation.array, array == 3)
    with pytest.raises(DatasetError, match=r"no segment is of a label .spleen.; there are 'liver', 'kidney_left'"):
        read_seg_mask(path, labels=LabelScheme.make({"spleen": 1}))


def test_a_smaller_or_shifted_grid_is_refused(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path, source, _ = written
    with pytest.raises(GeometryError, match=r"\d+ voxels of its segments lie outside"):
        read_seg_mask(path, like=source.geometry.crop((0, 0, 0), (6, 9, 7)))
    with pytest.raises(GeometryError, match=r"voxels of its segments lie outside"):
        read_seg_mask(path, like=source.geometry.crop((0, 0, 5), (13, 9, 7)))
    affine = source.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 0.4
    with pytest.raises(GeometryError, match=r"frame 1 of the segmentation lies 0\.4 voxels off"):
        read_seg_mask(path, like=Geometry(source.geometry.shape, affine))
    with pytest.raises(GeometryError, match="other directions or has another spacing"):
        read_seg_mask(path, like=make_geometry((13, 9, 7)))


def test_larger_grids_hold_it(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path, source, array = written
    found = read_seg_mask(path, labels=LABELS, like=source.geometry.crop((-2, -1, -3), (20, 9, 9))).segmentation.array
    assert np.array_equal(found[2:15, 1:10, 3:10], array)
    assert np.count_nonzero(found) == np.count_nonzero(array)


def test_compressed_fractions(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry((80, 72, 4)))
    smooth = np.indices(source.geometry.shape).sum(axis=0) / 160
    labels = LabelScheme.make({"liver": 1})
    write_seg_probabilities(tmp_path / "seg.dcm", {"liver": smooth}, source.geometry, labels, source)
    path = change(tmp_path / "seg.dcm", lambda content: content.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg"))
    assert np.abs(read_probabilities(read_seg(path), 1, source.geometry) - smooth).max() < 0.5 / 255 + 1e-6
    half = read_seg_mask(path, like=source.geometry).segmentation.array
    assert np.array_equal(half, np.rint(smooth * 255) >= 128)


def _drop(keyword: str) -> Callable[[Any], None]:
    return lambda content: delattr(content, keyword)


def _set(keyword: str, value: Any) -> Callable[[Any], None]:
    return lambda content: setattr(content, keyword, value)


def _in_group(edit: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda content: edit(content.PerFrameFunctionalGroupsSequence[0])


FAULTS: list[tuple[Callable[[Any], None], type[MedsegError], str]] = [
    (_drop("PixelData"), FormatError, "has no pixels"),
    (lambda c: setattr(c, "PixelData", c.PixelData[:20]), FormatError, "truncated: 20 bytes of"),
    (_set("NumberOfFrames", 10**7), FormatError, "NumberOfFrames is 10000000"),
    (_set("NumberOfFrames", 3), FormatError, "3 frames, of which"),
    (_set("Rows", 0), FormatError, "Rows is 0"),
    (_set("BitsAllocated", 8), FormatError, "BINARY segmentation of 8 bits"),
    (_set("SegmentationType", "ODD"), FormatError, "ODD segmentation"),
    (_drop("SegmentSequence"), FormatError, "segments are missing"),
    (lambda c: c.SegmentSequence.pop(), FormatError, "frames of segment 3, which is not described"),
    (lambda c: setattr(c.SegmentSequence[0], "SegmentNumber", 2), FormatError, "one number twice"),
    (_in_group(_drop("PlanePositionSequence")), GeometryError, "a frame without ImagePositionPatient"),
    (_in_group(_drop("SegmentIdentificationSequence")), FormatError, "a frame that names no segment"),
    (
        lambda c: setattr(
            c.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
            "ImageOrientationPatient",
            [1, 0, 0, 1, 0, 0],
        ),
        GeometryError, "no right angle",
    ),
    (
        lambda c: setattr(c.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], "PixelSpacing", [0, 1]),
        GeometryError, "not above 0 mm",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "kind", "reason"), FAULTS, ids=[reason for _, _, reason in FAULTS])
def test_damaged_objects_are_refused_by_name(
    written: tuple[Path, DicomSource, NDArray[Any]], edit: Callable[[Any], None], kind: type[MedsegError], reason: str
) -> None:
    path = change(written[0], edit)
    with pytest.raises(kind, match=reason) as caught:
        read_seg_mask(path)
    assert caught.value.file == str(path)


def test_cut_files_are_refused(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path = written[0]
    whole = path.read_bytes()
    for share in range(1, 40):
        path.write_bytes(whole[: len(whole) * share // 40])
        with pytest.raises(FormatError):
            read_seg_mask(path)


def test_flipped_bytes_are_read_or_refused(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    path = written[0]
    whole, random = path.read_bytes(), np.random.default_rng(5)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(random.integers(132, len(whole)))] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            read_seg_mask(path)
        except MedsegError:
            continue


def test_uneven_planes_are_refused(written: tuple[Path, DicomSource, NDArray[Any]]) -> None:
    def move(content: Any) -> None:
        for number, group in enumerate(content.PerFrameFunctionalGroupsSequence):
            place = group.PlanePositionSequence[0]
            place.ImagePositionPatient = [0, 0, [0, 3.0, 7.1, 9.0, 12.6][number % 5]]
        shared = content.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    with pytest.raises(GeometryError, match=r"1\.9 to 4\.1 mm apart"):
        read_seg_mask(change(written[0], move))
