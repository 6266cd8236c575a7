"""``medseg import-dicom``: scans with RTSTRUCT or SEG as a data set; nothing dropped in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError, FormatError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import exit_code
from medseg.core.records import read_json
from medseg.core.volume import Segmentation
from medseg.io import open_dataset, read_segmentation
from medseg.io.dicom.codes import find_code
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.rtstruct_write import write_rtstruct
from medseg.io.dicom.seg_write import write_seg
from medseg.io.dicom.uids import derive_uid
from medseg.tools.import_dicom import import_dicom
from tests.io.dicom_series import PET, pile, write

LABELS = LabelScheme.make({"Liver": 1, "GTV 1": 2})
RULES = {"labels": {"tumour": ["gtv*"], "liver": ["liver"]}}


def add_scan(folder: Path, patient: str, date: str, *, kind: str = "rtstruct", modality: str = "CT") -> np.ndarray:
    """Write a scan with its reference; the label map that was drawn on it."""
    header = {
        "PatientID": patient, "PatientName": f"Secret^{patient}", "StudyDate": date, "Modality": modality,
        "StudyInstanceUID": derive_uid("study", patient, date), "FrameOfReferenceUID": derive_uid("frame", patient),
        "SeriesInstanceUID": derive_uid("series", patient, date, modality),
    }  # fmt: skip
    planes = [plane.but(SOPInstanceUID=derive_uid("image", patient, date, modality, str(number)))
              for number, plane in enumerate(pile(header=header))]  # fmt: skip
    write(folder / "scan", planes)
    (series,) = find_series(folder / "scan").images
    _, source, _ = read_series(series)
    array = np.zeros(source.geometry.shape, np.uint8)
    array[1:8, 1:6, 2:6] = 1
    array[3:5, 2:5, 3] = 2
    segmentation = Segmentation(array, source.geometry)
    if kind == "rtstruct":
        write_rtstruct(folder / "rs.dcm", segmentation, LABELS, source)
    elif kind == "seg":
        write_seg(folder / "seg.dcm", segmentation, LABELS, source)
    return array


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rois.json"
    path.write_text(json.dumps(RULES))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_scans_with_references_become_a_data_set(tmp_path: Path, rules: Path) -> None:
    tree, output = tmp_path / "tree", tmp_path / "out"
    drawn = {
        "p001_1": add_scan(tree / "a1", "77", "20200301"),
        "p001_2": add_scan(tree / "a2", "77", "20200305", kind="seg"),
        "p002_1": add_scan(tree / "b", "12", "20190101"),
    }
    add_scan(tree / "c", "99", "20200101", kind="none")
    (tree / "notes.txt").write_text("no DICOM")
    result = import_dicom(tree, output, labels=rules)
    assert exit_code(result.outcomes) == 0
    dataset = open_dataset(output)
    assert (dataset.channels, dataset.labels.labels) == (("CT",), {"tumour": (1,), "liver": (2,)})
    assert [(case.name, case.patient, case.day) for case in dataset.cases] == [
        ("p001_1", "p001", 0), ("p001_2", "p001", 4), ("p002_1", "p002", 0),
    ]  # fmt: skip
    for case in dataset.cases:
        expected = np.array([0, 2, 1], np.uint8)[drawn[case.name]]
        found = read_segmentation(case.mask)
        scan = nib.load(case.images[0].path)
        np.testing.assert_array_equal(found.array, expected)
        np.testing.assert_allclose(scan.affine, found.geometry.affine, atol=1e-4)
    files = read_csv(output / "import.csv")
    assert sum(int(row["files"]) for row in files) == find_series(tree).file_count == 4 * 8 + 3 + 1
    left = {(row["status"], row["reason"]) for row in files} - {("done", "")}
    assert left == {("left", "no reference was drawn on it"), ("left", "no DICOM file")}


def test_codes_of_segments_stay_with_the_data_set(tmp_path: Path, rules: Path) -> None:
    tree = tmp_path / "tree"
    add_scan(tree / "a", "77", "20200301", kind="seg")
    add_scan(tree / "b", "12", "20190101")  # contours, which have none
    import_dicom(tree, tmp_path / "out", labels=rules)
    codes = open_dataset(tmp_path / "out").codes
    for label, keyword in (("tumour", "Neoplasm"), ("liver", "Liver")):
        assert codes[label].type == tuple(find_code(keyword))
    assert codes["liver"].category == tuple(find_code("AnatomicalStructure"))
    add_scan(tree / "c", "13", "20190102", kind="seg")
    path = tree / "c" / "seg.dcm"
    content = pydicom.dcmread(path)
    for segment in content.SegmentSequence:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.CodeMeaning = "Something else" if kind.CodeMeaning == "Liver" else kind.CodeMeaning
    content.save_as(path)
    import_dicom(tree, tmp_path / "two", labels=rules)
    assert set(open_dataset(tmp_path / "two").codes) == {"tumour"}  # two that differ are none


def test_nothing_that_is_written_names_a_patient(tmp_path: Path, rules: Path) -> None:
    add_scan(tmp_path / "tree" / "a", "0815-4711", "20200301")
    result = import_dicom(tmp_path / "tree", tmp_path / "out", labels=rules)
    texts = [result.text, result.to_json()]
    texts += [path.read_bytes().decode("latin-1") for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in texts if "0815-4711" in text or "Secret" in text or "20200301" in text]


def test_without_labels_structures_are_listed_and_a_draft_is_written(tmp_path: Path) -> None:
    array = add_scan(tmp_path / "tree" / "a", "77", "20200301")
    output = tmp_path / "out"
    result = import_dicom(tmp_path / "tree", output)
    assert exit_code(result.outcomes) == 0
    assert [path.name for path in output.iterdir()] == ["rois.draft.json"]
    listed = {row["structure"]: row["voxels"] for row in result.content["structures"]}
    assert listed == {"Liver": int((array == 1).sum()), "GTV 1": int((array == 2).sum())}
    assert f"Liver: 4 contours, {listed['Liver']} voxels" in result.text
    import_dicom(tmp_path / "tree", output, labels=output / "rois.draft.json")
    assert open_dataset(output).labels.names == ("GTV 1", "Liver")


def test_a_case_that_cannot_be_used_stops_no_other(tmp_path: Path, rules: Path) -> None:
    tree = tmp_path / "tree"
    for name, patient in (("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")):
        add_scan(tree / name, patient, "20200301")
    (tree / "a" / "scan" / "im004.dcm").unlink()  # a slice is missing
    damaged = tree / "b" / "rs.dcm"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    for path in (tree / "c" / "scan").iterdir():  # the scan is missing
        path.unlink()
    other = pydicom.dcmread(tree / "d" / "rs.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = derive_uid("other")
    other.save_as(tree / "d" / "rs2.dcm")  # two references of one scan
    result = import_dicom(tree, tmp_path / "out", labels=rules)
    assert exit_code(result.outcomes) == 3
    codes = {outcome.code for outcome in result.outcomes if outcome.status == "refused"}
    assert {"missing_slice", "no_series", "several_references"} <= codes
    assert [case.name for case in open_dataset(tmp_path / "out").cases] == ["p002_1"]
    assert all(outcome.inputs and outcome.reason for outcome in result.outcomes if outcome.status == "refused")
    files = read_csv(tmp_path / "out" / "import.csv")
    assert sum(int(row["files"]) for row in files) == find_series(tree).file_count


def test_several_modalities_need_a_choice(tmp_path: Path, rules: Path) -> None:
    tree = tmp_path / "tree"
    add_scan(tree / "a", "1", "20200301")
    add_scan(tree / "b", "2", "20200301", modality="MR")
    with pytest.raises(DatasetError, match=r"CT \(1 scans\), MR \(1 scans\)") as caught:
        import_dicom(tree, tmp_path / "out", labels=rules)
    assert "--modality" in str(caught.value.remedy)
    result = import_dicom(tree, tmp_path / "out", labels=rules, modality="mr")
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    assert open_dataset(tmp_path / "out").channels == ("MR",)
    with pytest.raises(DatasetError, match="already"):
        import_dicom(tree, tmp_path / "out", labels=rules, modality="CT")


def test_a_tree_without_references_is_refused(tmp_path: Path) -> None:
    add_scan(tmp_path / "tree" / "a", "1", "20200301", kind="none")
    with pytest.raises(DatasetError, match="no RTSTRUCT and no SEG among 8 files"):
        import_dicom(tmp_path / "tree", tmp_path / "out")


@pytest.mark.parametrize("modality", ["", "CT"])
def test_labels_that_match_nothing_are_refused_with_the_names_there_are(tmp_path: Path, modality: str) -> None:
    add_scan(tmp_path / "tree" / "a", "1", "20200301")
    (tmp_path / "rois.json").write_text(json.dumps({"labels": {"kidney": ["kidney*"]}}))
    with pytest.raises(DatasetError, match=r"no structure of 1 references matches a label; .* GTV 1, Liver") as caught:
        import_dicom(tmp_path / "tree", tmp_path / "out", labels=tmp_path / "rois.json", modality=modality)
    assert "--labels" in str(caught.value.remedy)
    assert not (tmp_path / "out").exists()


def test_rules_are_read_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "rois.json").write_text('{"label": {}}')
    with pytest.raises(FormatError, match="label"):
        import_dicom(tmp_path, tmp_path / "out", labels=tmp_path / "rois.json")


def draw_second(folder: Path, label: str, value: int, box: tuple[slice, ...]) -> np.ndarray:
    """Write a second reference on the scan of a folder; its mask."""
    (series,) = find_series(folder / "scan").images
    _, source, _ = read_series(series)
    array = np.zeros(source.geometry.shape, np.uint8)
    array[box] = 1
    write_rtstruct(folder / "rs2.dcm", Segmentation(array, source.geometry), LabelScheme.make({label: 1}), source)
    return np.where(array, value, 0)


def test_several_references_of_a_scan_are_united_by_rule(tmp_path: Path) -> None:
    tree, rules = tmp_path / "tree", tmp_path / "rois.json"
    drawn = np.array([0, 2, 1])[add_scan(tree / "a", "1", "20200301")]
    node = draw_second(tree / "a", "Node", 3, (slice(0, 1), slice(0, 3), slice(1, 3)))
    wanted = {**RULES["labels"], "node": ["node*"]}
    rules.write_text(json.dumps({"labels": wanted}))
    result = import_dicom(tree, tmp_path / "out", labels=rules)
    assert {outcome.code for outcome in result.outcomes} == {"several_references"}
    assert all('"references": "unite"' in outcome.remedy for outcome in result.outcomes)
    rules.write_text(json.dumps({"labels": wanted, "references": "unite"}))
    result = import_dicom(tree, tmp_path / "out", labels=rules)
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    assert "2 references united" in result.outcomes[0].reason
    assert read_json(tmp_path / "out" / "run.json")["settings"] == {
        "tilt": "refuse",
        "gaps": "refuse",
        "register": "refuse",
    }
    (case,) = open_dataset(tmp_path / "out").cases
    np.testing.assert_array_equal(read_segmentation(case.mask).array, np.maximum(drawn, node))
    rows = read_csv(tmp_path / "out" / "import.csv")
    assert sum(int(row["files"]) for row in rows) == find_series(tree).file_count == 10
    structures = {(Path(row["file"]).name, row["structure"]) for row in read_csv(tmp_path / "out" / "structures.csv")}
    assert structures == {("rs.dcm", "Liver"), ("rs.dcm", "GTV 1"), ("rs2.dcm", "Node")}


def test_one_structure_in_two_united_references_needs_a_rule_of_its_own(tmp_path: Path) -> None:
    tree, rules = tmp_path / "tree", tmp_path / "rois.json"
    drawn = add_scan(tree / "a", "1", "20200301") == 2
    other = draw_second(tree / "a", "GTV 1", 1, (slice(5, 7), slice(2, 4), slice(3, 5))) != 0
    rules.write_text(json.dumps({"labels": {"tumour": ["gtv*"]}, "references": "unite"}))
    (outcome,) = import_dicom(tree, tmp_path / "out", labels=rules).outcomes
    assert (outcome.code, outcome.status) == ("several_structures", "refused")
    several = {"patterns": ["gtv*"], "several": "unite"}
    rules.write_text(json.dumps({"labels": {"tumour": several}, "references": "unite"}))
    (outcome,) = import_dicom(tree, tmp_path / "out", labels=rules).outcomes
    assert outcome.status == "done"
    assert "'tumour' is 2 structures, united" in outcome.reason
    (case,) = open_dataset(tmp_path / "out").cases
    np.testing.assert_array_equal(read_segmentation(case.mask).array, drawn | other)


def test_segments_are_found_by_their_codes(tmp_path: Path) -> None:
    """A segment called otherwise is of the label whose pattern is its code or the code's meaning."""
    tree, rules = tmp_path / "tree", tmp_path / "rois.json"
    drawn = add_scan(tree / "a", "1", "20200301", kind="seg")
    file = pydicom.dcmread(tree / "a" / "seg.dcm")
    file.SegmentSequence[0].SegmentLabel = "Segment_1"
    code = file.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    file.save_as(tree / "a" / "seg.dcm")
    for place, pattern in enumerate((f"{code.CodingSchemeDesignator}:{code.CodeValue}", code.CodeMeaning.upper())):
        rules.write_text(json.dumps({"labels": {"organ": [pattern]}}))
        output = tmp_path / f"out{place}"
        assert [one.status for one in import_dicom(tree, output, labels=rules).outcomes] == ["done"]
        np.testing.assert_array_equal(read_segmentation(output / "masks" / "p001_1.nii.gz").array, drawn == 1)


def add_pet(folder: Path, patient: str, date: str, *, number: int = 20, frame: str | None = None) -> None:
    """Write a coarser PET series beside the scan of ``add_scan``, in its frame of reference where no other is given."""
    header = {
        "PatientID": patient, "StudyDate": date, "Modality": "PT", "SOPClassUID": PET, "Units": "GML",
        "StudyInstanceUID": derive_uid("study", patient, date), "SeriesNumber": number,
        "FrameOfReferenceUID": frame or derive_uid("frame", patient), "SeriesDescription": f"AC {number}",
        "SeriesInstanceUID": derive_uid("series", patient, date, "PT", str(number)),
    }  # fmt: skip
    planes = pile(5, shape=(6, 6), spacing=(3.0, 3.0), step_mm=4.0, header=header)
    write(folder / f"pet{number}", [
        plane.but(SOPInstanceUID=derive_uid("image", patient, date, str(number), str(k)))
        for k, plane in enumerate(planes)
    ])  # fmt: skip


CT_PET = "CT: Modality=CT; PET: Modality=PT"


def test_series_of_a_study_become_channels_on_the_scan_s_grid(
    tmp_path: Path, rules: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree, output = tmp_path / "tree", tmp_path / "out"
    for patient in ("1", "2"):
        add_scan(tree / patient, patient, "20200301")
        add_pet(tree / patient, patient, "20200301")
    result = import_dicom(tree, output, labels=rules, channels=CT_PET)
    assert [outcome.status for outcome in result.outcomes] == ["done", "done"]
    dataset = open_dataset(output)
    assert dataset.channels == ("CT", "PET")
    files = [path.relative_to(output).as_posix() for path in sorted((output / "images").iterdir())]
    assert files == [f"images/p00{case}_1_000{channel}.nii.gz" for case in (1, 2) for channel in (0, 1)]
    shapes = {nib.load(output / file).shape for file in files}
    assert len(shapes) == 1
    assert "PET: 6x6x5 at 3x3x4 mm brought onto the grid of CT" in caplog.text
    assert dataset.channel_rules == (
        ChannelRule(channel="CT", modality="CT", familiar=("thorax",)),
        ChannelRule(channel="PET", modality="PT", as_suv=True, familiar=("ac 20",)),
    )
    assert {row["status"] for row in read_csv(output / "import.csv")} == {"done"}
    assert sum(int(row["files"]) for row in read_csv(output / "import.csv")) == find_series(tree).file_count


def test_a_channel_that_is_missing_ambiguous_or_elsewhere_refuses_its_case(tmp_path: Path, rules: Path) -> None:
    tree = tmp_path / "tree"
    for patient in ("1", "2", "3", "4"):
        add_scan(tree / patient, patient, "20200301")
    add_pet(tree / "1", "1", "20200301")
    add_pet(tree / "2", "2", "20200301")
    add_pet(tree / "2", "2", "20200301", number=21)
    add_pet(tree / "3", "3", "20200301", frame="1.2.3")
    result = import_dicom(tree, tmp_path / "out", labels=rules, channels=CT_PET)
    assert {outcome.case: outcome.code for outcome in result.outcomes if outcome.status != "done"} == {
        "p002_1": "ambiguous_series", "p003_1": "other_frame", "p004_1": "missing_channel",
    }  # fmt: skip
    assert "PET: Modality=PT, SeriesNumber=21, unit=SUVbw" in result.text
    assert [case.name for case in open_dataset(tmp_path / "out").cases] == ["p001_1"]
    files = read_csv(tmp_path / "out" / "import.csv")
    assert sum(int(row["files"]) for row in files) == find_series(tree).file_count
    assert all(row["status"] == "done" or row["reason"] for row in files)


def test_references_are_those_of_the_first_channel(tmp_path: Path, rules: Path) -> None:
    add_scan(tmp_path / "tree", "1", "20200301")
    add_pet(tmp_path / "tree", "1", "20200301")
    with pytest.raises(DatasetError, match="first channel, PET: Modality=PT") as caught:
        import_dicom(tmp_path / "tree", tmp_path / "out", labels=rules, channels="PET: Modality=PT; CT: Modality=CT")
    assert "first in --channels" in str(caught.value.remedy)
    with pytest.raises(DatasetError, match=r"on a scan of modality MRI; they were drawn on CT \(1 scans\)"):
        import_dicom(tmp_path / "tree", tmp_path / "out", labels=rules, modality="MRI")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"channels": "CT: Kernel=4"}, "expected KEY=VALUE"),
        ({"channels": "CT: Modality=CT", "modality": "CT"}, "--modality CT beside --channels"),
        ({"register": "affine"}, "expected refuse or rigid"),
    ],
)
def test_options_that_are_none_are_refused_first(tmp_path: Path, options: dict[str, str], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        import_dicom(tmp_path / "nothing", tmp_path / "out", labels=tmp_path / "none.json", **options)
