"""Reports say what the table of measurements says, lesion by lesion, tied to the segmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from medseg.core.errors import DatasetError, FormatError
from medseg.core.results import Measurement
from medseg.core.volume import Volume
from medseg.io.dicom.codes import find_code
from medseg.io.dicom.report_sr import write_report
from medseg.io.dicom.seg_write import write_seg
from medseg.io.dicom.segments import TrackedLesion
from medseg.io.dicom.sr_read import read_report
from medseg.measurement import measure_case
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series


def make_rows(channel: str = "CT") -> tuple[Measurement, ...]:
    geometry = make_geometry()
    image = np.random.default_rng(0).normal(40, 10, (1, *geometry.shape)).astype(np.float32)
    if channel == "CT":
        image[:, :2] = -1000  # air, by which Hounsfield units are told
    return tuple(measure_case(make_mask(geometry), LABELS, volume=Volume(image, geometry, (channel,)), case="c1"))


def test_a_group_per_lesion_with_its_values_and_segment(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    named = [TrackedLesion("liver tumour", 1, "L7"), TrackedLesion("liver tumour", 2, "L8")]
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source, lesions=named)
    rows = make_rows()
    written = write_report(tmp_path / "sr.dcm", rows, seg, source)
    groups = {group.tracking_id: group for group in read_report(written.path)}
    assert list(groups) == [group.tracking_id for group in written.groups]
    lesion = groups["L8"]
    assert lesion.tracking_uid == seg.segments[-1].tracking_uid
    assert lesion.segment == (seg.sop_instance_uid, seg.segments[-1].number)
    table = {row.quantity: row.value for row in rows if row.label == "liver tumour" and row.instance == 2}
    found = {(value.concept.meaning, value.derivation and value.derivation.meaning): value for value in lesion.values}
    assert found["Volume", None].value == pytest.approx(table["volume_ml"], rel=1e-12)
    assert found["Long axis", None].value == pytest.approx(table["diameter_axial_mm"], rel=1e-12)
    assert found["Short axis", None].value == pytest.approx(table["diameter_perpendicular_mm"], rel=1e-12)
    assert found["Attenuation Coefficient", "Mean"].value == pytest.approx(table["mean_intensity"], rel=1e-12)
    unit = found["Attenuation Coefficient", "Mean"].unit
    assert unit is not None
    assert unit.value == "[hnsf'U]"
    assert groups["liver tumour"].segment is None  # written lesion by lesion: no segment is the whole label
    assert groups["liver"].segment == (seg.sop_instance_uid, 1)
    assert any("no name for them: volume_voxels" in note for note in written.notes)


def test_other_programs_read_it(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry(), multiframe=True)
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source, lesion_labels=["liver tumour"])
    write_report(tmp_path / "sr.dcm", make_rows(), seg, source)
    report: Any = highdicom.sr.srread(tmp_path / "sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    # liver, kidney_left, its only lesion (the label itself) and the two tumours.
    assert [group.tracking_identifier for group in groups] == [
        "liver", "kidney_left", "kidney_left-1", "liver tumour-1", "liver tumour-2",
    ]  # fmt: skip
    assert groups[-1].finding_type.value == find_code("Neoplasm").value
    assert groups[-1].finding_sites[0].value.value == find_code("Liver").value
    assert groups[1].finding_sites[0].laterality.value == find_code("Left").value
    content = pydicom.dcmread(tmp_path / "sr.dcm")
    assert (content.VerificationFlag, content.PatientID) == ("UNVERIFIED", "P-17")


def test_unknown_values_are_left_out_and_noted(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    rows = [
        replace(row, value=None, status="not_defined") if row.quantity == "diameter_axial_mm" else row
        for row in make_rows()
    ]
    written = write_report(tmp_path / "sr.dcm", rows, seg, source)
    assert all(value.concept.meaning != "Long axis" for group in written.groups for value in group.values)
    assert any("diameter_axial_mm of liver (not_defined)" in note for note in written.notes)


def test_error_bars_are_distances_from_the_value(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    row = next(row for row in make_rows() if row.quantity == "volume_ml")
    write_report(tmp_path / "sr.dcm", [replace(row, value=2.0, low=1.5, high=2.75)], seg, source)
    content = pydicom.dcmread(tmp_path / "sr.dcm")
    numbers = [float(element.value) for element in content.iterall() if element.keyword == "NumericValue"]
    assert numbers == [2.0, 0.75, 0.5]


def test_positron_emission_is_suv(tmp_path: Path) -> None:
    source = replace(write_series(tmp_path / "series", make_geometry(), Modality="PT"), modality="PT")
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    written = write_report(tmp_path / "sr.dcm", make_rows("PET_SUV"), seg, source)
    names = {(v.concept.meaning, v.derivation and v.derivation.meaning) for g in written.groups for v in g.values}
    assert {("SUVbw", "Maximum"), ("SUVbw", "Mean"), ("SUVbw", "Peak Value Within ROI")} <= names


def test_rows_of_no_or_two_cases_are_refused(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    rows = make_rows()
    for bad in ([], [rows[0], replace(rows[1], case="c2")]):
        with pytest.raises(DatasetError, match="cases, a report is about one"):
            write_report(tmp_path / "sr.dcm", bad, seg, source)
    assert not (tmp_path / "sr.dcm").exists()


def test_a_wrong_report_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    seg = write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    save = pydicom.Dataset.save_as

    def save_damaged(self: Any, *arguments: Any, **options: Any) -> None:
        item = next(element for element in self.iterall() if element.keyword == "NumericValue")
        item.value = "17"
        save(self, *arguments, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", save_damaged)
    with pytest.raises(FormatError, match="read back and differs: Volume is another"):
        write_report(tmp_path / "sr.dcm", make_rows(), seg, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seg.dcm", "series"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    with pytest.raises(FormatError, match="no structured report"):
        read_report(source.frames[0].path)
