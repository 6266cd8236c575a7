"""RTSTRUCTs written, read and drawn again; damaged ones are refused."""

import contextlib
import re

import numpy as np
import pydicom
import pytest

from medseg.core.errors import DatasetError, FormatError, GeometryError, ResourceError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.maker import Maker
from medseg.io.dicom.read import read_series
from medseg.io.dicom.roi_names import RoiRules
from medseg.io.dicom.rtstruct_masks import draw_structures
from medseg.io.dicom.rtstruct_read import read_structure_set
from medseg.io.dicom.rtstruct_write import name_rois, write_rtstruct
from medseg.io.dicom.segments import TrackedLesion
from medseg.io.dicom.uids import derive_uid
from tests.io.dicom.small_series import make_geometry, write_series
from tests.io.dicom_series import pile, write

LABELS = LabelScheme.make({"liver": 1, "liver tumour": 2, "Knöchel <b>\\1": 3})
RULES = RoiRules.parse(
    {"labels": {"liver": ["liver"], "liver tumour": ["liver tumour*"], "ankle": ["kn?chel*"]}, "skipped_slices": "keep"}
)


def draw_shapes(shape):
    """A ring with an island, single voxels that touch at corners, and a slice of noise."""
    i, j, _ = np.meshgrid(*map(np.arange, shape), indexing="ij")
    array = np.zeros(shape, np.uint8)
    radius = np.hypot(i - 20, j - 18)
    array[:, :, 1:5] = ((radius < 14) & (radius > 7) | (radius < 3))[:, :, 1:5]
    array[2, 2, 2] = array[3, 3, 2] = array[4, 2, 2] = 2
    array[9, 30, 5] = 2
    array[:, :, 4] = np.where(np.random.default_rng(5).random(shape[:2]) < 0.45, 3, array[:, :, 4])
    return array


@pytest.fixture(params=["axial", "oblique", "multiframe"])
def series(request, tmp_path):
    geometry = make_geometry((40, 36, 7), oblique=request.param == "oblique")
    return write_series(tmp_path / "ct", geometry, multiframe=request.param == "multiframe")


def test_exact_contours_give_the_mask_again(series, tmp_path):
    array = draw_shapes(series.geometry.shape)
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, series.geometry), LABELS, series)
    assert [(roi.label, roi.voxels, roi.voxels_drawn, roi.volume_change) for roi in written.rois] == [
        (label, int((array == value).sum()), int((array == value).sum()), 0.0)
        for value, label in enumerate(LABELS.names, start=1)
    ]
    assert written.notes == ()
    structures = read_structure_set(written.path)
    assert [roi.name for roi in structures.rois] == ["liver", "liver tumour", "Knöchel <b>/1"]
    assert [roi.kind for roi in structures.rois] == ["ORGAN", "GTV", ""]
    assert structures.series_uids == {series.series_uid}
    segmentation, uses, _ = draw_structures(structures, RULES, series)
    np.testing.assert_array_equal(segmentation.array, array)
    assert [use.voxels for use in uses] == [roi.voxels for roi in written.rois]


def test_the_object_says_whose_it_is_and_that_nobody_approved_it(series, tmp_path):
    array = draw_shapes(series.geometry.shape)
    maker = Maker(series_number=77, series_description="contours")
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, series.geometry), LABELS, series, maker=maker)
    file = pydicom.dcmread(written.path)
    assert (str(file.PatientName), file.PatientID, file.StudyInstanceUID) == ("Doe^Jane", "P-17", series.study_uid)
    assert (file.ApprovalStatus, file.SeriesNumber, file.SeriesDescription) == ("UNAPPROVED", 77, "contours")
    assert file.SeriesInstanceUID == written.series_uid != series.series_uid
    assert file.FrameOfReferenceUID == series.frame_of_reference_uid
    assert [item.ROIGenerationAlgorithm for item in file.StructureSetROISequence] == ["AUTOMATIC"] * 3
    voxel_ml = series.geometry.voxel_volume_ml
    assert [float(item.ROIVolume) / voxel_ml for item in file.StructureSetROISequence] == pytest.approx(
        [roi.voxels for roi in written.rois]
    )


def test_values_are_within_the_limits_of_dicom(series, tmp_path):
    array = draw_shapes(series.geometry.shape)
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, series.geometry), LABELS, series)
    file = pydicom.dcmread(written.path)
    number = re.compile(rb"-?\d+(\.\d+)?")
    frames = {(frame.sop_instance_uid, frame.number or None): frame for frame in series.frames}
    for item in file.StructureSetROISequence:
        assert len(item.ROIName) <= 64
    for item in file.RTROIObservationsSequence:
        assert len(item.ROIObservationLabel) <= 16
    for item in file.ROIContourSequence:
        for contour in item.ContourSequence:
            content = contour.get_item("ContourData").value
            assert len(content) % 2 == 0
            assert len(content) <= 65534
            parts = content.strip().split(b"\\")
            assert all(len(part) <= 16 and number.fullmatch(part) for part in parts)
            assert len(parts) == 3 * contour.NumberOfContourPoints
            (image,) = contour.ContourImageSequence
            frame = frames[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")]
            away = np.array(parts[:3], float) - frame.position_mm
            normal = np.cross(*(series.geometry.affine[:3, :2] * [[-1], [-1], [1]]).T)
            assert abs(away @ normal) < 1e-4, "in the plane of the image that it names"


def test_lesions_are_structures_of_their_own(series, tmp_path):
    array = draw_shapes(series.geometry.shape)
    lesion = TrackedLesion("liver tumour", 1, "L7")
    written = write_rtstruct(
        tmp_path / "rs.dcm", Segmentation(array, series.geometry), LABELS, series, lesions=[lesion]
    )
    assert [(roi.name, roi.voxels) for roi in written.rois[1:3]] == [("L7", 3), ("liver tumour-2", 1)]


def test_smooth_contours_say_by_how_much_they_change_the_volume(tmp_path):
    geometry = make_geometry((64, 60, 7))
    series = write_series(tmp_path / "ct", geometry)
    i, j, _ = np.meshgrid(*map(np.arange, geometry.shape), indexing="ij")
    radius = np.hypot(i - 30, 1.25 / 0.8 * (j - 28))
    array = ((radius < 25) & (radius > 8)).astype(np.uint8)
    scheme = LabelScheme.make({"liver": 1})
    written = write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, geometry), scheme, series, contours="smooth")
    (roi,), (note,) = written.rois, written.notes
    assert abs(roi.volume_change) < 0.01
    assert f"{100 * roi.volume_change:+.2f} %" in note
    segmentation, _, _ = draw_structures(read_structure_set(written.path), RULES, series)
    assert int(segmentation.array.sum()) == roi.voxels_drawn
    exact = write_rtstruct(tmp_path / "exact.dcm", Segmentation(array, geometry), scheme, series)
    assert exact.path.stat().st_size != written.path.stat().st_size


def test_smooth_contours_that_change_a_volume_leave_no_file(tmp_path):
    geometry = make_geometry((40, 36, 7))
    series = write_series(tmp_path / "ct", geometry)
    array = np.zeros(geometry.shape, np.uint8)
    array[5:8, 5, 2] = array[7, 5:8, 2] = 1  # a corner of five voxels, rounded
    with pytest.raises(DatasetError, match=r"\+20\.00 %.*expected at most 1 %") as caught:
        write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, geometry), LABELS, series, contours="smooth")
    assert caught.value.code == "smooth_changes_volume"
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_an_empty_mask_has_structures_without_contours(series, tmp_path):
    empty = Segmentation(np.zeros(series.geometry.shape, np.uint8), series.geometry)
    written = write_rtstruct(tmp_path / "rs.dcm", empty, LABELS, series)
    assert [roi.voxels_drawn for roi in written.rois] == [0, 0, 0]
    assert [roi.contours for roi in read_structure_set(written.path).rois] == [(), (), ()]


def test_a_mask_turned_otherwise_is_the_same(series, tmp_path):
    array = draw_shapes(series.geometry.shape)
    flipped = np.flip(array, (0, 2))
    affine = series.geometry.affine.copy()
    affine[:3, 3] = series.geometry.to_world((39, 0, 6))
    affine[:3, [0, 2]] *= -1
    turned = Segmentation(flipped, type(series.geometry)(series.geometry.shape, affine))
    written = write_rtstruct(tmp_path / "rs.dcm", turned, LABELS, series)
    np.testing.assert_array_equal(draw_structures(read_structure_set(written.path), RULES, series)[0].array, array)


def test_a_straightened_pile_keeps_its_planes(tmp_path):
    header = {"SeriesInstanceUID": derive_uid("tilted")}
    write(tmp_path / "ct", pile(tilt_degrees=15, header=header))
    (series,) = find_series(tmp_path / "ct").images
    _, source, _ = read_series(series, tilt="resample")
    array = np.zeros(source.geometry.shape, np.uint8)
    array[2:6, 3:7, 1:6] = 1
    array[4, 4, 1:6] = 0
    write_rtstruct(tmp_path / "rs.dcm", Segmentation(array, source.geometry), LABELS, source)
    structures = read_structure_set(tmp_path / "rs.dcm")
    np.testing.assert_array_equal(draw_structures(structures, RULES, source)[0].array, array)
    frames = {frame.sop_instance_uid: frame for frame in source.resampled_frames}
    for contour in structures.rois[0].contours:
        assert frames[contour.image_uids[0]].position_mm[2] == pytest.approx(contour.points_mm[0, 2], abs=1e-4)


def test_a_series_that_was_filled_up_is_refused(tmp_path):
    write(tmp_path / "ct", pile(places_mm=[0, 3, 6, 12, 15]))
    (series,) = find_series(tmp_path / "ct").images
    _, source, _ = read_series(series, gaps="interpolate")
    empty = Segmentation(np.zeros(source.geometry.shape, np.uint8), source.geometry)
    with pytest.raises(GeometryError) as caught:
        write_rtstruct(tmp_path / "rs.dcm", empty, LABELS, source)
    assert caught.value.code == "resampled_source"


def test_names_that_are_cut_stay_different():
    long = "x" * 64
    names = name_rois([long, long, "a", "A", "a"])
    assert names == [long, "x" * 62 + " 2", "a", "A 2", "a 3"]


def written_file(tmp_path):
    geometry = make_geometry((40, 36, 7))
    series = write_series(tmp_path / "ct", geometry)
    write_rtstruct(tmp_path / "rs.dcm", Segmentation(draw_shapes(geometry.shape), geometry), LABELS, series)
    return series, pydicom.dcmread(tmp_path / "rs.dcm")


def set_points(file, text):
    contour = file.ROIContourSequence[0].ContourSequence[0]
    contour[0x30060050] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x30060050), "DS", len(text), text, 0, False, True
    )


def repeat(sequence):
    sequence.append(sequence[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: set_points(file, b"1\\2"), "no multiple of 3"),
        (lambda file: set_points(file, b"1\\2\\3\\4\\5\\6 "), "2 points and states"),
        (lambda file: set_points(file, b"1\\nan\\3 "), "from the origin"),
        (lambda file: set_points(file, b"1\\1e9\\3 "), "from the origin"),
        (lambda file: set_points(file, b"1\\zwei\\3"), "no number"),
        (lambda file: repeat(file.StructureSetROISequence), "two structures have the number 1"),
        (lambda file: repeat(file.ROIContourSequence), "two lists of contours"),
        (lambda file: file.StructureSetROISequence.pop(), "does not name"),
        (lambda file: setattr(file, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "expected RT Structure Set"),
        (lambda file: delattr(file.StructureSetROISequence[0], "ROINumber"), "cannot be read"),
    ],
)
def test_contradictions_are_refused(tmp_path, change, words):
    _, file = written_file(tmp_path)
    change(file)
    file.save_as(tmp_path / "bad.dcm")
    with pytest.raises(FormatError, match=words) as caught:
        read_structure_set(tmp_path / "bad.dcm")
    assert str(tmp_path / "bad.dcm") in str(caught.value)


def test_another_world_is_refused_unless_the_file_names_the_series(tmp_path):
    series, file = written_file(tmp_path)
    for item in file.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = "1.2.3"
    file.save_as(tmp_path / "rs.dcm")
    draw_structures(read_structure_set(tmp_path / "rs.dcm"), RULES, series)
    for item in file.ReferencedFrameOfReferenceSequence:
        del item.RTReferencedStudySequence
    file.save_as(tmp_path / "rs.dcm")
    draw_structures(read_structure_set(tmp_path / "rs.dcm"), RULES, series)  # by its images
    for item in file.ROIContourSequence:
        for contour in item.ContourSequence:
            del contour.ContourImageSequence
    file.save_as(tmp_path / "rs.dcm")
    with pytest.raises(GeometryError, match=r"frame of reference 1\.2\.3") as caught:
        draw_structures(read_structure_set(tmp_path / "rs.dcm"), RULES, series)
    assert caught.value.code == "other_frame_of_reference"


def test_labels_that_share_voxels_are_refused_or_the_last_wins(tmp_path):
    series, file = written_file(tmp_path)
    file.ROIContourSequence[1].ContourSequence.extend(file.ROIContourSequence[0].ContourSequence)
    file.save_as(tmp_path / "rs.dcm")
    structures = read_structure_set(tmp_path / "rs.dcm")
    with pytest.raises(DatasetError, match="'liver' and 'liver tumour' share") as caught:
        draw_structures(structures, RULES, series)
    assert caught.value.code == "overlapping_structures"
    last = RULES.model_copy(update={"overlap": "last"})
    array = draw_structures(structures, last, series)[0].array
    assert set(np.unique(array)) == {0, 2, 3}


def test_a_file_without_any_label_is_refused_with_its_names(tmp_path):
    series, _ = written_file(tmp_path)
    rules = RoiRules.parse({"labels": {"spleen": ["spleen"]}})
    with pytest.raises(DatasetError, match="'liver', 'liver tumour'") as caught:
        draw_structures(read_structure_set(tmp_path / "rs.dcm"), rules, series)
    assert caught.value.code == "no_structure"


def test_damaged_bytes_never_raise_anything_else(tmp_path):
    written_file(tmp_path)
    content = bytearray((tmp_path / "rs.dcm").read_bytes())
    random = np.random.default_rng(11)
    for _ in range(120):
        damaged = bytearray(content)
        for place in random.integers(132, len(content), 3):
            damaged[place] = random.integers(256)
        damaged = damaged[: random.integers(140, len(content))] if random.random() < 0.3 else damaged
        (tmp_path / "bad.dcm").write_bytes(damaged)
        with contextlib.suppress(FormatError, ResourceError):
            read_structure_set(tmp_path / "bad.dcm")
