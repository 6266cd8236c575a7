"""Key pictures show the plane of each segment's largest area, in its colours, and belong to the patient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.core.errors import GeometryError
from medseg.core.volume import Segmentation, Volume
from medseg.io.dicom.key_drawing import draw_key_slice, settle_window
from medseg.io.dicom.key_pictures import write_key_pictures
from medseg.io.dicom.seg_write import write_seg
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_a_picture_per_plane_with_every_segment_in_one(tmp_path: Path, kind: str) -> None:
    source = write_series(tmp_path / "series", make_geometry(), multiframe=True, PatientName="Secretname")
    mask = make_mask(source.geometry)
    mask.array[:, :, 4][mask.array[:, :, 4] == 1] = 0
    mask.array[2:9, 2:9, 4] = 1  # the liver's largest area
    seg = write_seg(tmp_path / "seg.dcm", mask, LABELS, source, kind=kind)  # type: ignore[arg-type]
    volume = Volume(np.zeros((1, *source.geometry.shape), np.int16), source.geometry, ("CT",))
    pictures = write_key_pictures(tmp_path / "keys", volume, seg, source)
    assert sorted(number for picture in pictures for number in picture.segments) == [1, 2, 3]
    liver = next(picture for picture in pictures if 1 in picture.segments)
    assert liver.plane == 4
    content = pydicom.dcmread(liver.path)
    pixels = content.pixel_array
    assert {seg.segments[0].colour} <= {tuple(colour) for colour in pixels.reshape(-1, 3).tolist()}
    assert (content.PatientName, content.StudyInstanceUID) == ("Secretname", source.study_uid)
    item = content.SourceImageSequence[0]
    assert (item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber) == (source.frames[4].sop_instance_uid, 5)
    assert content.PatientOrientation == ["L", "P"]
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [picture.path.name for picture in pictures]


def test_an_empty_mask_has_no_picture(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    empty = Segmentation(np.zeros(source.geometry.shape, np.uint8), source.geometry)
    seg = write_seg(tmp_path / "seg.dcm", empty, LABELS, source)
    volume = Volume(np.zeros((1, *source.geometry.shape), np.int16), source.geometry, ("CT",))
    assert write_key_pictures(tmp_path, volume, seg, source) == ()
    other = replace(volume, geometry=make_geometry(spacing_mm=(1, 1, 1)))
    with pytest.raises(GeometryError, match="the volume's grid"):
        write_key_pictures(tmp_path, other, seg, source)


def test_pixels_are_square_and_rims_follow_the_mask() -> None:
    grey = np.zeros((10, 10))
    mask = np.zeros((10, 10), bool)
    mask[2:8, 3:5] = True
    mask[4:6, 3] = False
    picture = draw_key_slice(grey, (3.0, 1.0), (0.0, 1.0), [(mask, (255, 0, 0), "\n山")])
    assert picture.shape == (768, 256, 3)
    red = (picture == (255, 0, 0)).all(axis=2)
    rows, columns = np.arange(768) * 10 // 768, np.arange(256) * 10 // 256
    enlarged = mask[np.ix_(rows, columns)]
    assert (red[60:] <= enlarged[60:]).all()  # the name stands above
    top, left_of_hole = int(np.flatnonzero(rows == 2)[0]), int(np.flatnonzero(columns == 4)[0])
    assert red[top, left_of_hole - 5]
    assert red[384, left_of_hole]  # in the middle of the rows of the hole
    assert not red[384, left_of_hole + 12]


def test_windows() -> None:
    grey = np.linspace(0, 100, 101)
    assert settle_window(grey, "CT", None) == (-160, 240)
    assert settle_window(grey, "MR", None) == (1, 99)
    assert settle_window(grey, "CT", (-1350, 150)) == (-1350, 150)
    assert settle_window(np.full(4, np.nan), "MR", None) == (0, 1)
    assert settle_window(np.full(4, 7.0), "MR", None) == (7, 8)
