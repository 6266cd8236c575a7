"""A slice that departs from its series: refused, or said; series in which each slice is its own stay as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import MedsegError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import plan_stack, read_series
from tests.io.dicom_series import MR, PET, STEP_MM, Plane, fill, is_right, pile, write

SLOPES = np.linspace(0.02, 0.06, 8).round(6)
ACTIVITY = {"SOPClassUID": PET, "Modality": "PT", "Units": "BQML", "RescaleType": None}


def read(folder: Path, planes: list[Plane]):
    write(folder, planes)
    (series,) = find_series(folder).images
    return read_series(series)


def change(planes: list[Plane], index: int, **header: object) -> list[Plane]:
    return [plane.but(**header) if k == index else plane for k, plane in enumerate(planes)]


def misstate(planes: list[Plane], index: int, **header: object) -> list[Plane]:
    """A slice whose stored values are those of its old header under a new one."""
    slope = float(planes[index].header.get("RescaleSlope", 1 / 32))
    stored = np.rint(fill(planes[index]) / slope).astype("<i2").tobytes()
    return change(planes, index, PixelData=stored, **header)


def own_scales() -> list[Plane]:
    return [plane.but(RescaleSlope=slope) for plane, slope in zip(pile(header=ACTIVITY), SLOPES, strict=True)]


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_without_the_scale_of_the_others_is_refused(keyword: str, tmp_path: Path) -> None:
    planes = pile(header={"RescaleIntercept": -1024, "RescaleSlope": 1 / 16})
    write(tmp_path, misstate(planes, 3, **{keyword: None}))
    (series,) = find_series(tmp_path).images
    with pytest.raises(MedsegError, match=rf"im004.dcm states no {keyword} .*: 7 other slices do") as caught:
        plan_stack(series)
    assert caught.value.code == "mixed_scale"


def test_a_scale_that_says_nothing_may_be_left_out(tmp_path: Path) -> None:
    planes = pile(header={"RescaleSlope": 1, "RescaleIntercept": 0, "PixelRepresentation": 1}, offset=0.25)
    whole = [plane.but(PixelData=np.rint(fill(plane)).astype("<i2").tobytes()) for plane in planes]
    _, _, notes = read(tmp_path, change(whole, 2, RescaleSlope=None, RescaleIntercept=None))
    assert notes == ()


@pytest.mark.parametrize("modality", [{}, {"SOPClassUID": MR, "Modality": "MR", "RescaleType": None}])
def test_another_scale_than_the_others_is_held_against_the_voxels(modality: dict[str, str], tmp_path: Path) -> None:
    planes = pile(header=modality)
    volume, _, notes = read(tmp_path / "right", change(planes, 3, RescaleSlope=1 / 16))
    assert is_right(volume.array[0], volume.geometry.affine)
    assert len(notes) == 1
    assert "im004.dcm states RescaleSlope 0.0625, 7 other slices 0.03125" in notes[0]
    with pytest.raises(MedsegError, match="only by those its voxels fit its neighbours'") as caught:
        read(tmp_path / "wrong", misstate(planes, 3, RescaleSlope=1 / 16))
    assert (caught.value.code, caught.value.remedy) == ("mixed_scale", "Fetch the series again")


def test_slices_with_scales_of_their_own_are_said_where_they_stand_out(tmp_path: Path) -> None:
    volume, _, notes = read(tmp_path / "right", own_scales())
    assert notes == ()
    assert is_right(volume.array[0], volume.geometry.affine, 0.1)
    _, _, notes = read(tmp_path / "wrong", misstate(own_scales(), 4, RescaleSlope=float(SLOPES[4]) * 2))
    assert len(notes) == 1
    assert "im005.dcm is 2 times as bright as its neighbours lead to expect" in notes[0]


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"PixelPaddingValue": -5000}, "im004.dcm states padding -5000 to -5000, 7 other slices none"),
        ({"BitsStored": 15, "HighBit": 14}, "states pixels of signed values of 15 bits up to bit 14, 7 other slices"),
        ({"RescaleIntercept": 0.5}, "im004.dcm states RescaleIntercept 0.5, 7 other slices 0"),
    ],
)
def test_other_departures_are_said(header: dict[str, float], text: str, tmp_path: Path) -> None:
    _, _, notes = read(tmp_path, change(pile(), 3, **header))
    assert any(text in note for note in notes), notes


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"Modality": "MR"}, "mixed_modality"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, "bad_header"),
        ({"SamplesPerPixel": 3}, "bad_header"),
        ({"PhotometricInterpretation": None}, "mixed_values"),
    ],
)
def test_an_end_slice_that_reads_as_something_else_is_not_left_out(
    header: dict[str, object], code: str, tmp_path: Path
) -> None:
    write(tmp_path, change(pile(), 7, **header))
    (series,) = find_series(tmp_path).images
    with pytest.raises(MedsegError) as caught:
        read_series(series)
    assert caught.value.code == code


def test_grey_levels_need_not_be_named(tmp_path: Path) -> None:
    volume, _, notes = read(tmp_path, pile(header={"PhotometricInterpretation": None}))
    assert is_right(volume.array[0], volume.geometry.affine)
    assert notes == ()


def test_orientation_and_spacing_are_those_of_most_slices(tmp_path: Path) -> None:
    sound, _, _ = read(tmp_path / "sound", pile())
    planes = change(pile(), 0, PixelSpacing=[1.5005, 1.25], ImageOrientationPatient=[1, 0.0001, 0, 0, 1, 0])
    volume, _, _ = read(tmp_path / "odd", planes)
    np.testing.assert_array_equal(volume.geometry.affine, sound.geometry.affine)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (bytes(3000), "the file begins with zeros alone, as after a copy that failed"),
        (b"<html>", "no DICOM file"),
        (bytes(128) + b"DICL\x02\0\0\0UL\x04\0", "damaged: the mark DICM is not where it should be"),
    ],
)
def test_a_file_that_may_have_been_a_slice_leaves_a_note(content: bytes, reason: str, tmp_path: Path) -> None:
    write(tmp_path, pile())[-1].write_bytes(content)
    tree = find_series(tmp_path)
    assert tree.unused == ((tmp_path / "im008.dcm", reason),)
    (series,) = tree.images
    _, _, notes = read_series(series)
    assert any("1 empty or damaged file beside it" in note for note in notes)


@pytest.mark.parametrize(("count", "said"), [(8, 0), (6, 0), (9, 1), (16, 0), (None, 0)])
def test_slices_that_a_header_counts_are_there(count: int | None, said: int, tmp_path: Path) -> None:
    _, _, notes = read(tmp_path, pile(header=ACTIVITY | {"NumberOfSlices": count}))
    assert len(notes) == said


@pytest.mark.parametrize("index", [0, 7])
def test_an_end_slice_that_names_another_series_is_said(index: int, tmp_path: Path) -> None:
    write(tmp_path, change(pile(), index, SeriesInstanceUID="1.2.3"))
    series = max(find_series(tmp_path).images, key=lambda one: len(one.planes))
    assert any("lies where its next slice would" in note for note in read_series(series)[2])


def test_a_single_slice_elsewhere_is_none_of_the_series(tmp_path: Path) -> None:
    planes = pile(9)
    far = replace(planes[8], position=planes[8].position + np.array([0, 0, STEP_MM]))
    write(tmp_path, [*planes[:8], far.but(SeriesInstanceUID="1.2.3")])
    series = max(find_series(tmp_path).images, key=lambda one: len(one.planes))
    assert read_series(series)[2] == ()
