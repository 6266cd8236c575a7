"""Written segmentations hold the mask, refer to the series, and belong to its patient; nothing else is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from medseg.core.atomic import fault_hook
from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.maker import Maker
from medseg.io.dicom.seg_read import find_segments, read_probabilities, read_seg, read_seg_mask
from medseg.io.dicom.seg_write import write_seg, write_seg_probabilities
from medseg.io.dicom.segments import TrackedLesion
from medseg.io.dicom.source import DicomSource
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series


def array_at(path: Path, source: DicomSource, labels: LabelScheme = LABELS) -> NDArray[Any]:
    return read_seg_mask(path, labels=labels, like=source.geometry).segmentation.array


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_every_voxel_comes_back(tmp_path: Path, oblique: bool, multiframe: bool, kind: Any) -> None:
    source = write_series(tmp_path / "series", make_geometry(oblique=oblique), multiframe=multiframe)
    mask = make_mask(source.geometry)
    written = write_seg(tmp_path / "seg.dcm", mask, LABELS, source, kind=kind)
    assert np.array_equal(array_at(written.path, source), mask.array)
    seg = read_seg(written.path)
    assert seg.kind == kind.upper()
    assert [segment.name for segment in seg.segments.values()] == ["liver", "kidney_left", "liver tumour"]
    assert seg.source_series_uids == (source.series_uid,)
    assert (seg.study_uid, seg.frame_of_reference_uid) == (source.study_uid, source.frame_of_reference_uid)


@pytest.mark.parametrize("multiframe", [False, True])
def test_each_frame_refers_to_its_plane(tmp_path: Path, multiframe: bool) -> None:
    source = write_series(tmp_path / "series", make_geometry(), multiframe=multiframe)
    write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    planes = {plane.position_mm: plane for plane in source.frames}
    assert len(content.PerFrameFunctionalGroupsSequence) == content.NumberOfFrames == 5 + 1 + 5
    for group in content.PerFrameFunctionalGroupsSequence:
        position = tuple(float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient)
        plane = planes[min(planes, key=lambda place: abs(np.subtract(place, position)).sum())]
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == plane.sop_instance_uid
        assert item.ReferencedSOPClassUID == plane.sop_class_uid
        assert item.get("ReferencedFrameNumber", 0) == plane.number
        assert item.SpatialLocationsPreserved == "YES"
    instances = content.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len(instances) == (1 if multiframe else 6)


@pytest.mark.parametrize("upwards", [True, False])
def test_frames_stand_in_the_order_of_their_indices(tmp_path: Path, upwards: bool) -> None:
    geometry = make_geometry(oblique=True)
    affine = geometry.affine @ np.diag([1, 1, 1 if upwards else -1, 1])
    source = write_series(tmp_path / "series", Geometry(geometry.shape, affine, geometry.spacing_mm))
    mask = make_mask(source.geometry)
    for lesion_labels in ([], ["liver tumour"]):
        written = write_seg(tmp_path / "seg.dcm", mask, LABELS, source, lesion_labels=lesion_labels)
        content = pydicom.dcmread(written.path)
        groups = content.PerFrameFunctionalGroupsSequence
        indices = [list(group.FrameContentSequence[0].DimensionIndexValues) for group in groups]
        assert indices == sorted(indices)
        numbers = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in groups]
        assert numbers == [index[0] for index in indices]
        places = [tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in groups]
        assert len({(place, index[1]) for place, index in zip(places, indices, strict=True)}) == len(set(places))
        assert content.SegmentsOverlap == "NO"
        assert np.array_equal(array_at(written.path, source), mask.array)


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry(oblique=True))
    mask = make_mask(source.geometry)
    affine = source.geometry.affine @ np.array([[0, -1, 0, 11], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    turned = Segmentation(np.ascontiguousarray(mask.array[::-1].transpose(2, 0, 1)), Geometry((6, 12, 10), affine))
    write_seg(tmp_path / "seg.dcm", turned, LABELS, source)
    assert np.array_equal(array_at(tmp_path / "seg.dcm", source), mask.array)


def test_another_grid_is_refused(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    other = make_mask(make_geometry(spacing_mm=(0.8, 1.25, 2.5)))
    with pytest.raises(GeometryError, match="grid"):
        write_seg(tmp_path / "seg.dcm", other, LABELS, source)
    assert not (tmp_path / "seg.dcm").exists()


def test_lesions_have_identifiers_that_stay(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    mask = make_mask(source.geometry)
    named = [TrackedLesion("liver tumour", 2, "L7"), TrackedLesion("kidney_left", 1, "K", "2.25.99")]
    first = write_seg(tmp_path / "a.dcm", mask, LABELS, source, lesions=named)
    second = write_seg(tmp_path / "b.dcm", mask, LABELS, source, lesions=named)
    assert [segment.name for segment in first.segments] == ["liver", "K", "liver tumour-1", "L7"]
    assert [segment.tracking_uid for segment in first.segments] == [s.tracking_uid for s in second.segments]
    assert first.segments[1].tracking_uid == "2.25.99"
    assert len({segment.tracking_uid for segment in first.segments}) == 4
    assert first.sop_instance_uid != second.sop_instance_uid
    assert np.array_equal(array_at(first.path, source), mask.array)  # united by their label again
    seg = read_seg(first.path)
    assert [segment.tracking_id for segment in find_segments(seg, "liver tumour")] == ["liver tumour-1", "L7"]
    other = write_series(tmp_path / "other", make_geometry(), PatientID="P-18")
    third = write_seg(tmp_path / "c.dcm", mask, LABELS, other, lesion_labels=["liver tumour"])
    assert third.segments[-2].tracking_uid != first.segments[-2].tracking_uid


def test_lesions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    mask = make_mask(source.geometry)
    with pytest.raises(DatasetError, match="lesion 5 of liver, which has 2"):
        write_seg(tmp_path / "a.dcm", mask, LABELS, source, lesions=[TrackedLesion("liver", 5, "L5")])
    twice = [TrackedLesion("liver tumour", 1, "L"), TrackedLesion("liver tumour", 2, "L")]
    with pytest.raises(DatasetError, match="two lesions are called L"):
        write_seg(tmp_path / "a.dcm", mask, LABELS, source, lesions=twice)
    with pytest.raises(DatasetError, match="'spleen' are asked for"):
        write_seg(tmp_path / "a.dcm", mask, LABELS, source, lesion_labels=["spleen"])


def test_regions_may_overlap_in_binary_only(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    mask = make_mask(source.geometry)
    regions = LabelScheme.make({"whole": [1, 3], "core": [3], "kidney": [2]})
    write_seg(tmp_path / "seg.dcm", mask, regions, source)
    assert np.array_equal(array_at(tmp_path / "seg.dcm", source, regions), mask.array)
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentsOverlap == "YES"
    with pytest.raises(DatasetError, match="share voxels"):
        write_seg(tmp_path / "map.dcm", mask, regions, source, kind="labelmap")
    with pytest.raises(DatasetError, match="overlap in"):
        read_seg_mask(tmp_path / "seg.dcm", like=source.geometry)


def test_an_empty_mask_is_an_object_that_says_so(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    empty = Segmentation(np.zeros(source.geometry.shape, np.uint8), source.geometry)
    for kind in ("binary", "labelmap"):
        written = write_seg(tmp_path / f"{kind}.dcm", empty, LABELS, source, kind=kind)  # type: ignore[arg-type]
        assert len(written.segments) == 3
        assert not array_at(written.path, source).any()


def test_absent_labels_ignored_voxels_and_large_values(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    array = make_mask(source.geometry).array.astype(np.uint16) * 300
    array[7, 1, 1] = 255
    labels = LabelScheme.make({"liver": 300, "spleen": 2, "tumour": 900, "ignore": 255})
    written = write_seg(tmp_path / "seg.dcm", Segmentation(array, source.geometry), labels, source)
    assert [segment.name for segment in written.segments] == ["liver", "tumour"]
    wanted = np.where(np.isin(array, (300, 900)), array, 0)
    assert np.array_equal(array_at(written.path, source, labels), wanted)


def test_probabilities_come_back_to_half_a_step(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry(oblique=True))
    random = np.random.default_rng(3)
    given = {name: random.random(source.geometry.shape, np.float32) ** 4 for name in LABELS.names}
    given["liver"][..., 2] = 1e-4
    write_seg_probabilities(tmp_path / "seg.dcm", given, source.geometry, LABELS, source)
    seg = read_seg(tmp_path / "seg.dcm")
    for number, name in enumerate(LABELS.names, start=1):
        found = read_probabilities(seg, number, source.geometry)
        assert np.abs(found - given[name]).max() <= 0.5 / 255 + 1e-6
    bad = {**given, "liver": np.full(source.geometry.shape, 2.0) * (given["liver"] > 0.5)}
    with pytest.raises(DatasetError, match="from 0 to 2"):
        write_seg_probabilities(tmp_path / "bad.dcm", bad, source.geometry, LABELS, source)


def test_patient_and_study_are_the_series(tmp_path: Path) -> None:
    header = {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎", "StudyDate": None,
        "StudyID": None, "PatientID": "<script>../../x", "AccessionNumber": None, "IssuerOfPatientID": "clinic",
        "PatientWeight": "71.5", "PatientSex": "not a sex, too long",
    }  # fmt: skip
    with pytest.warns(UserWarning, match="value"):
        source = write_series(tmp_path / "series", make_geometry(), **header)
    write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    assert str(content.PatientName) == "Yamada^Tarou=山田^太郎"
    assert content.PatientID == "<script>../../x"
    assert content.IssuerOfPatientID == "clinic"
    assert content.PatientWeight == 71.5
    assert content.PatientSex == content.StudyDate == content.StudyID == content.AccessionNumber == ""
    assert content.StudyInstanceUID == source.study_uid
    assert content.SpecificCharacterSet == "ISO_IR 192"


def test_nothing_of_the_patient_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    source = write_series(tmp_path / "series", make_geometry(), PatientName="Secretname", PatientID="id-4711")
    with caplog.at_level("DEBUG"):
        write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
        with pytest.raises(FormatError) as caught:
            write_seg(tmp_path / "b.dcm", make_mask(source.geometry), LABELS, replace(source, series_uid="1.2.3"))
    printed = capsys.readouterr()
    everything = caplog.text + printed.out + printed.err + str(caught.value)
    assert "Secretname" not in everything
    assert "4711" not in everything


def test_resampled_planes_refer_to_the_nearest(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    affine = source.geometry.affine.copy()
    affine[:3, 3] += (0, 0, 1.0)
    straight = replace(
        source, geometry=Geometry(source.geometry.shape, affine), frames=(), resampled_frames=source.frames
    )
    mask = make_mask(straight.geometry)
    write_seg(tmp_path / "seg.dcm", mask, LABELS, straight)
    assert np.array_equal(array_at(tmp_path / "seg.dcm", straight), mask.array)
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    lowest = min(
        content.PerFrameFunctionalGroupsSequence,
        key=lambda group: group.PlanePositionSequence[0].ImagePositionPatient[2],
    )
    item = lowest.DerivationImageSequence[0].SourceImageSequence[0]
    assert item.ReferencedSOPInstanceUID == source.frames[0].sop_instance_uid
    assert item.SpatialLocationsPreserved == "NO"
    with pytest.raises(FormatError, match="names no file"):
        write_seg(tmp_path / "b.dcm", mask, LABELS, replace(straight, resampled_frames=()))


def test_names_that_dicom_cannot_hold(tmp_path: Path) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    labels = LabelScheme.make({"a\\b\n<i>" + "x" * 80: 1, "Läsion 山": 2, "liver tumour": 3})
    mask = make_mask(source.geometry)
    written = write_seg(tmp_path / "seg.dcm", mask, labels, source, maker=Maker(model="m\\n" + "y" * 90))
    names = [segment.name for segment in read_seg(written.path).segments.values()]
    assert names[1] == "Läsion 山"
    assert len(names[0]) == 64
    assert names[0].startswith("a/b/n<i>x")


@pytest.mark.parametrize("step", ["open", "fsync", "rename"])
def test_a_failing_disk_leaves_nothing(tmp_path: Path, step: str) -> None:
    source = write_series(tmp_path / "series", make_geometry())

    def fail(name: str, path: Path) -> None:
        if name == step:
            raise OSError(28, "No space left on device")

    with fault_hook(fail), pytest.raises(OSError, match="No space"):
        write_seg(tmp_path / "out" / "seg.dcm", make_mask(source.geometry), LABELS, source)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_object_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_series(tmp_path / "series", make_geometry())
    save = pydicom.Dataset.save_as

    def save_damaged(self: Any, *arguments: Any, **options: Any) -> None:
        self.PixelData = bytes([self.PixelData[0] ^ 1]) + self.PixelData[1:]
        save(self, *arguments, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", save_damaged)
    with pytest.raises(FormatError, match="1 voxels of a label are not"):
        write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_nothing_is_said_of_values_that_others_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        source = write_series(
            tmp_path / "series", make_geometry(), StudyID="of 18 letters, not", PatientBirthDate="1960"
        )
    caplog.clear()
    write_seg(tmp_path / "seg.dcm", make_mask(source.geometry), LABELS, source)
    assert caplog.records == []
    content = pydicom.dcmread(tmp_path / "seg.dcm")
    assert content.PatientID == "P-17"
    assert not content.PatientBirthDate  # which DICOM does not allow
