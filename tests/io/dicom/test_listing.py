"""A folder of DICOM files is listed: what each series is, why one is refused, why files are unused; nobody is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from medseg import pipeline
from medseg.core.errors import DatasetError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.walk import holds_dicom
from tests.io.dicom_series import pile, save, write
from tests.io.dicom_situations import SITUATIONS


def _write_study(root: Path) -> None:
    write(root / "a", pile())
    write(
        root / "b", pile(places_mm=[0, 3, 9, 12], header={"SeriesInstanceUID": "1.2.3", "SeriesDescription": "<b>\n"})
    )
    SITUATIONS["a structured report and a presentation state"].make(root / "c")
    (root / "notes.txt").write_text("x")


def test_check_lists_series_refusals_and_unused_files(tmp_path: Path) -> None:
    _write_study(tmp_path)
    result = pipeline.check(tmp_path)
    assert [outcome.status for outcome in result.outcomes] == ["refused", "done"]
    refused = result.outcomes[0]
    assert (refused.code, refused.remedy != "") == ("missing_slice", True)
    assert "between im002.dcm and im003.dcm lie 6 mm, expected 3 mm" in refused.reason
    assert "9x7x8 at 1.25x1.5x3 mm, LPS" in result.text
    assert "unused, a copy of another file: 8 files" in result.text
    assert len(result.content["unused"]) == 11
    assert result.content["files"] == 23
    everything = result.text + result.to_json()
    assert not any(word in everything for word in ("Muster", "Erika", "0815", "19700101"))
    assert "<b>\n" not in json.loads(result.to_json())["series"][0]["name"]


def test_a_folder_without_dicom_stays_an_unknown_layout(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"DICOM")
    assert not holds_dicom(tmp_path)
    with pytest.raises(DatasetError, match="no known layout"):
        pipeline.check(tmp_path)


def test_files_that_lost_their_series_leave_a_note_on_their_neighbours(tmp_path: Path) -> None:
    paths = write(tmp_path, pile())
    paths[-1].write_bytes(paths[-1].read_bytes()[:300])
    paths[0].write_bytes(b"")
    (series,) = find_series(tmp_path).images
    _, _, notes = read_series(series)
    assert any("2 empty or damaged files beside it" in note for note in notes)


def test_a_scale_that_one_slice_of_a_ct_lost_is_told(tmp_path: Path) -> None:
    planes = pile()
    write(tmp_path, [*planes[:3], planes[3].but(RescaleSlope=1 / 16), *planes[4:]])
    (series,) = find_series(tmp_path).images
    assert any("states RescaleSlope 0.0625" in note for note in read_series(series)[2])


def test_what_is_done_to_a_series_is_told(tmp_path: Path) -> None:
    write(tmp_path, pile(tilt_degrees=10, places_mm=[0, 3, 9, 12]))
    (series,) = find_series(tmp_path).images
    volume, source, notes = read_series(series, tilt="resample", gaps="interpolate")
    assert any("lean by 10.0 degrees" in note for note in notes)
    assert any("4 planes lie 3 to 6 mm apart" in note for note in notes)
    assert source.frames == ()
    assert len(source.resampled_frames) == 4
    assert volume.geometry.same_grid(source.geometry)
    with pytest.raises(DatasetError, match="--gaps 'fill', expected refuse or interpolate"):
        read_series(series, gaps="fill")


def test_files_of_the_same_plain_pixels_are_copies_coded_ones_are_not(tmp_path: Path) -> None:
    write(tmp_path / "a", pile(), start=0)
    write(tmp_path / "b", pile(), ImplicitVRLittleEndian, start=0)
    tree = find_series(tmp_path)
    assert (len(tree.images), len(tree.unused)) == (1, 8)
    assert tree.images[0].problem is None
    for path in (tmp_path / "b").iterdir():
        data = pydicom.dcmread(path)
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
    (series,) = find_series(tmp_path).images
    assert series.problem is not None
    assert series.problem.code == "two_versions"


def test_a_single_file_is_found_and_pipes_are_listed(tmp_path: Path) -> None:
    (path,) = write(tmp_path / "one", pile(1))
    assert find_series(path).images[0].files == (path,)
    os.mkfifo(tmp_path / "one" / "pipe")
    (tmp_path / "one" / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "one" / "self").symlink_to(tmp_path / "one" / "self")
    reasons = dict(find_series(tmp_path).unused)
    assert tmp_path / "one" / "self" in reasons
    assert reasons[tmp_path / "one" / "pipe"] == "a named pipe, device or socket, not a plain file"
    assert reasons[tmp_path / "one" / "lost"] == "a link to nothing"


def test_references_are_series_of_their_kind(tmp_path: Path) -> None:
    from tests.io.dicom_series import Plane, build

    for number, (uid, modality) in enumerate((("66.4", "SEG"), ("481.3", "RTSTRUCT"))):
        header = {
            "SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{uid}", "Modality": modality, "SeriesInstanceUID": f"1.2.{number}",
            "Rows": None, "Columns": None,
        }  # fmt: skip
        save(tmp_path / modality, build(Plane(pile(1)[0].position, header=header), number))
    assert sorted(series.kind for series in find_series(tmp_path).series) == ["contours", "segmentation"]


def test_checking_nifti_loads_no_dicom_library(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom medseg import pipeline\n"
        "try:\n    pipeline.check(sys.argv[1])\nexcept ValueError:\n    pass\n"
        "assert not {'pydicom', 'highdicom'} & set(sys.modules)"
    )
    (tmp_path / "x.txt").write_text("x")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
