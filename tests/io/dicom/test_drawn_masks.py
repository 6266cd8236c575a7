"""RTSTRUCT and SEG as masks of ``evaluate`` and ``measure``: drawn on the scans that lie in the tree or elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg import pipeline
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import exit_code
from medseg.core.results import Measurement, Score, read_rows
from medseg.core.volume import Segmentation
from medseg.io import find_images, find_masks, read_segmentation, read_volume, write_segmentation
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.roi_names import RoiRules, is_roi_file, read_roi_rules
from medseg.io.dicom.rtstruct_write import write_rtstruct
from medseg.io.dicom.scans import name_case
from medseg.io.dicom.seg_write import write_seg
from tests.io.dicom_series import MR, encode, pile, write
from tests.tools.test_import_dicom import LABELS, add_scan, draw_second

RULES = RoiRules.parse({"labels": {"tumour": ["gtv*"], "liver": ["liver"]}})


def name_of(folder: Path) -> str:
    (series,) = find_series(folder).images
    return name_case(series)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two patients' scans, one with RTSTRUCT, one with SEG, and a scan without a reference."""
    root = tmp_path / "tree"
    add_scan(root / "a", "1", "20200301")
    add_scan(root / "b", "1", "20200305", kind="seg")
    add_scan(root / "c", "2", "20200301", kind="none")
    return root


def test_masks_are_found_by_series_and_drawn_on_them(tree: Path) -> None:
    found = find_masks(tree, dicom=DicomReading(rules=RULES))
    names = {name_of(tree / folder / "scan"): folder for folder in ("a", "b")}
    assert found.keys() == names.keys()
    expected = add_scan(tree.parent / "same", "3", "20200301", kind="none")
    for name, source in found.items():
        mask = read_segmentation(source, labels=RULES.scheme, case=name)
        np.testing.assert_array_equal(mask.array, np.array([0, 2, 1])[expected])
        (series,) = find_series(tree / names[name] / "scan").images
        assert mask.geometry.same_grid(read_series(series)[0].geometry)
    drawings = [source.drawing for source in found.values()]
    assert sorted((one.patient, one.day) for one in drawings if one) == [("p001", 0), ("p001", 4)]


def test_without_rules_structures_are_the_labels_called_so(tree: Path, tmp_path: Path) -> None:
    """Between two formats of the same mask every score is perfect, and labels are called as the file calls them."""
    outcomes = pipeline.evaluate(tree, tree, tmp_path / "scores").outcomes
    assert [one.status for one in outcomes] == ["done", "done"]
    rows = read_rows(tmp_path / "scores" / "scores.csv", Score)
    dice = {(row.label, row.value) for row in rows if row.metric == "dice" and row.label in LABELS.names}
    assert dice == {("GTV 1", 1.0), ("Liver", 1.0)}
    scheme = LabelScheme.make({"liver": 7})
    mask = read_segmentation(find_masks(tree)[name_of(tree / "b" / "scan")], labels=scheme)
    assert set(np.unique(mask.array)) == {0, 7}


def test_predictions_are_scored_against_contours(tree: Path, tmp_path: Path) -> None:
    """NIfTI masks called as ``medseg predict`` calls them, against a tree of RTSTRUCT and SEG with its scans."""
    predictions = tmp_path / "predictions"
    for name, source in find_masks(tree, dicom=DicomReading(rules=RULES)).items():
        mask = read_segmentation(source, labels=RULES.scheme)
        array = mask.array.copy()
        array[1] = 0  # a seventh of the liver is missed
        write_segmentation(predictions / f"{name}.nii.gz", Segmentation(array, mask.geometry))
    (tmp_path / "rois.json").write_text(json.dumps({"labels": {"tumour": ["gtv*"], "liver": ["liver"]}}))
    result = pipeline.evaluate(predictions, tree, tmp_path / "out", dicom=DicomReading(rules=RULES))
    assert exit_code(result.outcomes) == 0
    rows = read_rows(tmp_path / "out" / "scores.csv", Score)
    truth = next(iter(find_masks(tree, dicom=DicomReading(rules=RULES)).values()))
    full = read_segmentation(truth, labels=RULES.scheme).array == 2
    kept = full.copy()
    kept[1] = False
    dice = [row.value for row in rows if (row.metric, row.label, row.instance) == ("dice", "liver", 0)]
    assert dice == pytest.approx([2 * kept.sum() / (kept.sum() + full.sum())] * 2)
    assert {(row.patient, row.day) for row in rows} == {("p001", 0), ("p001", 4)}
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"] == {"tilt": "refuse", "gaps": "refuse"}
    (counted,) = run["dicom"]
    assert counted["files"] == find_series(tree).file_count == 3 * 8 + 2
    assert counted["used"] + sum(entry["files"] for entry in counted["unused"]) == counted["files"]
    assert counted["unused"] == [{"files": 8, "reason": "a scan that no result comes from"}]


def test_contours_and_their_scans_may_lie_apart(tmp_path: Path) -> None:
    add_scan(tmp_path / "tree" / "a", "1", "20200301")
    (tmp_path / "contours").mkdir()
    (tmp_path / "tree" / "a" / "rs.dcm").rename(tmp_path / "contours" / "rs.dcm")
    with pytest.raises(DatasetError, match="--images TREE") as caught:
        find_masks(tmp_path / "contours")
    assert caught.value.code == "no_series"
    found = find_masks(tmp_path / "contours", dicom=DicomReading((tmp_path / "tree",)))
    assert list(found) == [name_of(tmp_path / "tree")]
    found = find_masks(tmp_path / "contours" / "rs.dcm", dicom=DicomReading((tmp_path / "tree",)))
    assert list(found) == [name_of(tmp_path / "tree")]


def test_a_seg_needs_no_scan(tmp_path: Path) -> None:
    add_scan(tmp_path / "tree" / "a", "1", "20200301", kind="seg")
    (tmp_path / "segs").mkdir()
    (tmp_path / "tree" / "a" / "seg.dcm").rename(tmp_path / "segs" / "first.seg.dcm")
    assert list(find_masks(tmp_path / "segs")) == ["first"]
    result = pipeline.measure(tmp_path / "segs", tmp_path / "out")
    assert exit_code(result.outcomes) == 0
    labels = {row.label for row in read_rows(tmp_path / "out" / "measurements.csv", Measurement)}
    assert {"Liver", "GTV 1"} <= labels  # not label_1


def test_measure_takes_intensities_from_the_series(tree: Path, tmp_path: Path) -> None:
    result = pipeline.measure(tree, tmp_path / "out", images=tree, dicom=DicomReading(rules=RULES))
    assert exit_code(result.outcomes) == 0
    rows = read_rows(tmp_path / "out" / "measurements.csv", Measurement)
    means = [row.value for row in rows if (row.label, row.quantity, row.instance) == ("tumour", "mean_intensity", 0)]
    mask = read_segmentation(
        find_masks(tree, dicom=DicomReading(rules=RULES))[name_of(tree / "a")], labels=RULES.scheme
    )
    world = mask.geometry.to_world(np.argwhere(mask.array == 1)) * [-1, -1, 1]
    assert means == pytest.approx([float(encode(world).mean())] * 2, abs=0.02)
    volumes = {row.value for row in rows if (row.label, row.quantity, row.instance) == ("tumour", "volume_voxels", 0)}
    assert volumes == {int((mask.array == 1).sum())}
    (counted,) = json.loads((tmp_path / "out" / "run.json").read_text())["dicom"]
    assert counted["used"] + sum(entry["files"] for entry in counted["unused"]) == counted["files"] == 26


def test_a_tilted_scan_is_straightened_for_contours_as_for_prediction(tmp_path: Path) -> None:
    """The reference lies on the very grid that ``--tilt resample`` gives the scan, and the run says so."""
    write(tmp_path / "tree" / "scan", pile(tilt_degrees=12, shape=(16, 18)))
    (series,) = find_series(tmp_path / "tree").images
    volume, source, _ = read_series(series, tilt="resample")
    array = np.zeros(volume.geometry.shape, np.uint8)
    array[4:12, 5:11, 2:6] = 1
    mask, labels = Segmentation(array, volume.geometry), LabelScheme.make({"Liver": 1})
    write_rtstruct(tmp_path / "tree" / "rs.dcm", mask, labels, source)
    name = name_case(series)
    write_segmentation(tmp_path / "masks" / f"{name}.nii.gz", mask)
    result = pipeline.evaluate(tmp_path / "masks", tmp_path / "tree", tmp_path / "refused")
    assert [(one.case, one.code) for one in result.outcomes] == [(name, "tilted")]
    dicom = DicomReading(tilt="resample")
    result = pipeline.evaluate(tmp_path / "masks", tmp_path / "tree", tmp_path / "out", dicom=dicom)
    assert [one.status for one in result.outcomes] == ["done"]
    rows = read_rows(tmp_path / "out" / "scores.csv", Score)
    assert {row.value for row in rows if row.metric == "dice"} == {1.0}
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["tilt"] == "resample"
    assert any("lean by 12.0 degrees" in note for note in run["notes"])
    pipeline.measure(tmp_path / "tree", tmp_path / "measured", dicom=dicom)
    for folder in ("out", "measured"):  # the report takes the scan as the masks did
        write_segmentation(tmp_path / folder / f"{name}.nii.gz", mask)
        report = pipeline.report(tmp_path / folder, images=tmp_path / "tree", references=tmp_path / "tree")
        assert [(one.case, one.status) for one in report.outcomes] == [(name, "done")]
    assert "lean by 12.0 degrees" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_the_report_draws_structures_by_rule(tmp_path: Path) -> None:
    """A reference whose structures are called otherwise than the labels is drawn where rules say which is which."""
    add_scan(tmp_path / "tree", "1", "20200301")
    name, rois = name_of(tmp_path / "tree" / "scan"), tmp_path / "rois.json"
    rois.write_text(json.dumps({"labels": {"tumour": ["gtv*"], "lesser": ["liver"]}}))
    rules = read_roi_rules(rois)
    (source,) = find_masks(tmp_path / "tree", dicom=DicomReading(rules=rules)).values()
    pipeline.measure(tmp_path / "tree", tmp_path / "out", dicom=DicomReading(rules=rules))
    write_segmentation(tmp_path / "out" / f"{name}.nii.gz", read_segmentation(source, labels=rules.scheme))
    places = {"images": tmp_path / "tree", "references": tmp_path / "tree"}
    pages = []
    for labels in (None, rois):
        result = pipeline.report(tmp_path / "out", **places, labels=labels)
        assert (name, "done") in [(one.case, one.status) for one in result.outcomes]
        pages.append((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert ["reference (dashed)" in page for page in pages] == [False, True]


def test_several_references_of_a_scan_are_refused_or_united(tree: Path, tmp_path: Path) -> None:
    draw_second(tree / "a", "Node", 3, (slice(0, 1), slice(0, 3), slice(1, 3)))
    labels = {"tumour": ["gtv*"], "liver": ["liver"], "node": ["node"]}
    problems: list[MedsegError] = []
    found = find_masks(tree, problems, dicom=DicomReading(rules=RoiRules.parse({"labels": labels})))
    assert list(found) == [name_of(tree / "b")]
    assert [(one.code, one.case) for one in problems] == [("several_references", name_of(tree / "a"))]
    rules = RoiRules.parse({"labels": labels, "references": "unite"})
    mask = read_segmentation(
        find_masks(tree, dicom=DicomReading(rules=rules))[name_of(tree / "a")], labels=rules.scheme
    )
    assert set(np.unique(mask.array)) == {0, 1, 2, 3}
    # One that holds nothing that is wanted is none to choose among.
    assert len(find_masks(tree, dicom=DicomReading(rules=RULES))) == 2


def test_what_no_label_matches_is_said(tree: Path, tmp_path: Path) -> None:
    problems: list[MedsegError] = []
    found = find_masks(tree, problems, dicom=DicomReading(labels=LabelScheme.make({"kidney": 1})))
    assert not found
    assert {one.code for one in problems} == {"no_structure"}
    assert "'Liver'" in problems[0].reason
    assert "rois.json" in str(problems[0].remedy)


def test_regions_are_painted_from_structures(tmp_path: Path) -> None:
    add_scan(tmp_path / "tree" / "a", "1", "20200301")
    scheme = LabelScheme.make({"Liver": [1, 2], "GTV 1": [2]}, paint_order=[1, 2])
    (source,) = find_masks(tmp_path / "tree").values()
    drawn = add_scan(tmp_path / "same", "3", "20200301", kind="none")
    with pytest.raises(DatasetError, match="no label value stands for GTV 1 alone"):
        read_segmentation(source, labels=scheme)  # the tumour was cut out of the liver
    scheme = LabelScheme.make({"Liver": [1, 3], "GTV 1": [2, 3]}, paint_order=[1, 2])
    np.testing.assert_array_equal(read_segmentation(source, labels=scheme).array, drawn)


def test_images_of_a_tree_are_its_series(tree: Path) -> None:
    write(tree / "m", [plane.but(SOPClassUID=MR, Modality="MR", SeriesInstanceUID="1.2.3") for plane in pile()])
    found = find_images(tree)
    assert len(found) == 4
    (name,) = (name for name in found if "_MR" in name)
    volume = read_volume(found[name])
    assert volume.channels == ("MR",)
    assert len(found[name].images) == 8


def test_rois_are_told_from_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "rois.json"
    for content, expected in (
        ({"labels": {"tumour": ["gtv*"]}}, True), ({"labels": {"tumour": "gtv*"}}, True),
        ({"labels": {"tumour": {"patterns": ["gtv"]}}}, True), ({"format": "medseg-rois-2", "labels": {}}, True),
        ({"labels": {"background": 0, "tumour": 1}}, False), ({"labels": {"0": "background", "1": "tumour"}}, False),
        ({"labels": {"whole": [1, 2]}}, False), ([1], False), ({}, False),
    ):  # fmt: skip
        path.write_text(json.dumps(content))
        assert is_roi_file(path) is expected, content
    path.write_text("{")
    assert not is_roi_file(path)
    assert not is_roi_file(tmp_path)


def test_cases_take_the_names_that_a_run_gave_their_series(tree: Path, tmp_path: Path) -> None:
    """As ``medseg predict --with-identity`` names masks; the run says which series each came from."""
    found = find_masks(tree, dicom=DicomReading(rules=RULES))
    cases = []
    for number, (name, source) in enumerate(found.items()):
        mask = read_segmentation(source, labels=RULES.scheme)
        write_segmentation(tmp_path / "out" / f"patient_{number}.nii.gz", mask)
        (series,) = (one for one in find_series(tree).images if name_case(one) == name)
        cases.append({"case": f"patient_{number}", "status": "done", "inputs": [str(series.files[0])]})
    (tmp_path / "out" / "run.json").write_text(json.dumps({"command": "predict", "cases": cases}))
    dicom = DicomReading(rules=RULES)
    result = pipeline.evaluate(tmp_path / "out", tree, tmp_path / "scores", dicom=dicom)
    assert [(one.case, one.status) for one in result.outcomes] == [("patient_0", "done"), ("patient_1", "done")]
    rows = read_rows(tmp_path / "scores" / "scores.csv", Score)
    assert {row.value for row in rows if row.metric == "dice"} == {1.0}
    pipeline.measure(tmp_path / "out", tmp_path / "measured", images=tree, labels=RULES.scheme)
    measured = read_rows(tmp_path / "measured" / "measurements.csv", Measurement)
    assert {row.case for row in measured if row.quantity == "mean_intensity"} == {"patient_0", "patient_1"}


def test_many_segments_and_overlapping_ones_are_drawn(tmp_path: Path) -> None:
    """Segments of one file are painted at once; where they share voxels, one by one."""
    add_scan(tmp_path / "tree", "1", "20200301", kind="seg")
    path = tmp_path / "tree" / "seg.dcm"
    rules = RoiRules.parse({"labels": {"all": {"patterns": ["*"], "several": "unite"}}})
    (source,) = find_masks(tmp_path / "tree", dicom=DicomReading(rules=rules)).values()
    separate = read_segmentation(source, labels=rules.scheme).array
    file = pydicom.dcmread(path)
    pixels = np.unpackbits(np.frombuffer(file.PixelData, np.uint8), bitorder="little")
    size = file.Rows * file.Columns
    frames = pixels[: size * file.NumberOfFrames].reshape(-1, size)
    groups = file.PerFrameFunctionalGroupsSequence
    owners = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in groups]
    places = [tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in groups]
    for first, second in ((a, b) for a in range(len(owners)) for b in range(a + 1, len(owners))):
        if places[first] == places[second]:
            frames[second] |= frames[first]  # the tumour's plane holds the liver's too
    file.PixelData = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    file.save_as(path)
    (source,) = find_masks(tmp_path / "tree", dicom=DicomReading(rules=rules)).values()
    np.testing.assert_array_equal(read_segmentation(source, labels=rules.scheme).array, separate)
    (source,) = find_masks(tmp_path / "tree", dicom=DicomReading(rules=RULES)).values()
    with pytest.raises(DatasetError, match="share"):
        read_segmentation(source, labels=RULES.scheme)


def test_a_timeline_may_name_contours_and_series(tmp_path: Path) -> None:
    for folder, date in (("a", "20200301"), ("b", "20200601")):
        add_scan(tmp_path / folder, "1", date)
    rows = ["case,patient,day,mask,image", "first,p,0,a/rs.dcm,a/scan", "second,p,92,b/rs.dcm,b/scan", "third,p,99,a,b"]
    (tmp_path / "timeline.csv").write_text("\n".join(rows) + "\n")
    dicom = DicomReading(rules=RULES)
    result = pipeline.measure(None, tmp_path / "out", timeline=tmp_path / "timeline.csv", dicom=dicom)
    assert {(one.case, one.code) for one in result.outcomes if one.status != "done"} == {("third", "same_mask")}
    measured = read_rows(tmp_path / "out" / "measurements.csv", Measurement)
    whole = {
        (row.case, row.value)
        for row in measured
        if (row.label, row.quantity, row.instance) == ("tumour", "volume_voxels", 0)
    }
    assert {case for case, _ in whole} == {"first", "second"}
    assert len({value for _, value in whole}) == 1
    (tmp_path / "timeline.csv").write_text("case,patient,day,mask\nfirst,p,0,a/rs.dcm\nsecond,p,1,b\n")
    result = pipeline.measure(None, tmp_path / "out", timeline=tmp_path / "timeline.csv", dicom=dicom)
    assert {(one.case, one.code) for one in result.outcomes} == {("first", "no_series"), ("second", "")}


def test_a_mask_in_several_forms_counts_once(tmp_path: Path) -> None:
    """As ``medseg predict --format dicom-seg,rtstruct`` leaves it, with and without the scan."""
    add_scan(tmp_path / "tree", "1", "20200301")
    (series,) = find_series(tmp_path / "tree" / "scan").images
    _, source, _ = read_series(series)
    drawn = read_segmentation(next(iter(find_masks(tmp_path / "tree").values())), labels=LABELS)
    (tmp_path / "tree" / "rs.dcm").unlink()
    for ending in ("seg", "mask.seg"):
        write_seg(tmp_path / "out" / f"case.{ending}.dcm", drawn, LABELS, source)
    write_rtstruct(tmp_path / "out" / "case.rtstruct.dcm", drawn, LABELS, source)
    for reading, name in ((None, "case"), (DicomReading((tmp_path / "tree",)), name_case(series))):
        ((found, mask),) = find_masks(tmp_path / "out", dicom=reading).items()
        assert (found, mask.path.name) == (name, "case.mask.seg.dcm")
        assert (read_segmentation(mask, labels=LABELS, like=drawn.geometry).array == drawn.array).all()
