"""A second study of a patient: lesions keep their identifiers, whichever way the first study is given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import DatasetError
from medseg.core.records import read_json
from medseg.inference import Predictor
from medseg.inference.folders.source import predict_source
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.seg_read import read_seg
from medseg.io.dicom.sr_read import read_report
from tests.io.dicom_series import pile, write

SHAPE = (14, 15)
STUDIES = {"first": ("20240501", "11"), "second": ("20240807", "12")}


def write_study(tree: Path, name: str, **header: Any) -> Path:
    date, number = STUDIES[name]
    uids = {"StudyInstanceUID": f"1.2.826.0.1.{number}", "SeriesInstanceUID": f"1.2.826.0.2.{number}"}
    planes = [replace(plane, shape=SHAPE) for plane in pile(9)]
    given = {**uids, "StudyDate": date, "PatientID": "P-17", **header}
    write(tree / name, [plane.but(**given) for plane in planes])
    return tree / name


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in STUDIES:
        write_study(tmp_path / "tree", name)
    return tmp_path / "tree"


def predict(predictor: Predictor, source: Path, output: Path, **options: Any) -> dict[str, str]:
    """The case of each study's folder."""
    outcomes = predict_source(predictor, source, output, file_format="nifti,sr", **options)
    assert {outcome.status for outcome in outcomes} <= {"done", "skipped"}
    return {Path(outcome.inputs[0]).parent.name: outcome.case for outcome in outcomes}


def list_lesions(folder: Path, case: str) -> dict[str, str]:
    """Identifiers by name, the same in SEG and SR."""
    segments = read_seg(folder / f"{case}.seg.dcm").segments.values()
    found = {segment.tracking_id: segment.tracking_uid for segment in segments}
    reported = {group.tracking_id: group.tracking_uid for group in read_report(folder / f"{case}.sr.dcm")}
    assert found.items() <= reported.items()
    return found


def test_an_earlier_run_s_folder(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    before = predict(predictor, tree / "first", tmp_path / "a")
    after = predict(predictor, tree / "second", tmp_path / "b", follow=tmp_path / "a")
    old, new = (list_lesions(tmp_path / folder, cases[name]) for folder, cases, name in
                (("a", before, "first"), ("b", after, "second")))  # fmt: skip
    assert new == old  # the scans are alike
    notes = read_json(tmp_path / "b" / "run.json")["warnings"]
    assert any(
        f"lesions go on from earlier masks, the last of them {before['first']}.seg.dcm" in text for text in notes
    )
    apart = predict(predictor, tree / "second", tmp_path / "c")
    assert not set(list_lesions(tmp_path / "c", apart["second"]).values()) & set(old.values())
    seg = tmp_path / "a" / f"{before['first']}.seg.dcm"
    by_file = predict(predictor, tree / "second", tmp_path / "d", follow=seg)
    assert list_lesions(tmp_path / "d", by_file["second"]) == old


def test_both_studies_in_one_tree(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    cases = predict(predictor, tree, out, follow=out)
    old = list_lesions(out, cases["first"])
    assert list_lesions(out, cases["second"]) == old
    again = predict_source(predictor, tree, out, file_format="nifti,sr", follow=out)
    assert {outcome.status for outcome in again} == {"skipped"}
    # Where the first study is done again, so is what goes on from it.
    (out / f"{cases['first']}.nii.gz").unlink()
    redone = predict_source(predictor, tree, out, file_format="nifti,sr", follow=out)
    assert {outcome.status for outcome in redone} == {"done"}
    assert list_lesions(out, cases["second"]) == list_lesions(out, cases["first"]) == old


def test_lesions_beside_a_fractional_seg_go_on_too(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_source(predictor, tree, out, file_format="dicom-seg,sr", seg_type="fractional", follow=out)
    segs = [read_seg(path) for path in sorted(out.glob("*.mask.seg.dcm"))]
    uids = [{segment.tracking_uid for segment in seg.segments.values()} for seg in segs]
    assert len(uids) == 2
    assert uids[0] == uids[1]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"PatientID": "P-18"}, "no earlier mask of its patient"),
        ({"PatientID": ""}, "the scan names no patient"),
        ({"StudyDate": ""}, "its study states no date"),
        ({"StudyDate": "20230101"}, "no earlier mask of its patient"),
    ],
)
def test_what_is_no_earlier_study_of_the_patient(
    predictor: Predictor, tmp_path: Path, header: dict[str, Any], reason: str
) -> None:
    before = predict(predictor, write_study(tmp_path, "first"), tmp_path / "a")
    second = write_study(tmp_path, "second", **header)
    after = predict(predictor, second, tmp_path / "b", follow=tmp_path / "a")
    old, new = list_lesions(tmp_path / "a", before["first"]), list_lesions(tmp_path / "b", after["second"])
    assert not set(old.values()) & set(new.values())
    (note,) = [text for text in read_json(tmp_path / "b" / "run.json")["warnings"] if "of their own" in text]
    assert reason in note
    assert "P-1" not in note


def test_two_masks_of_one_study_are_not_guessed_between(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    write_study(tmp_path / "more", "first", SeriesInstanceUID="1.2.826.0.2.13")
    predict(predictor, tree / "first", tmp_path / "a")
    predict(predictor, tmp_path / "more", tmp_path / "a")
    predict(predictor, tree / "second", tmp_path / "b", follow=tmp_path / "a")
    (note,) = [text for text in read_json(tmp_path / "b" / "run.json")["warnings"] if "of their own" in text]
    assert "has 2 masks" in note


def test_what_cannot_be_followed_is_refused_before_anything_is_computed(
    predictor: Predictor, tree: Path, tmp_path: Path
) -> None:
    predict_source(predictor, tree / "first", tmp_path / "whole", file_format="dicom-seg")
    for place, match in (
        (tmp_path / "absent", "neither a folder nor a file"),
        (tree / "first", "0 SEG, none of which"),
        (tmp_path / "whole", "1 SEG, none of which"),
    ):
        with pytest.raises(DatasetError, match=match):
            predict_source(predictor, tree / "second", tmp_path / "b", file_format="sr", follow=place)
    with pytest.raises(DatasetError, match="divides them"):
        predict_source(predictor, tree, tmp_path / "b", file_format="sr", follow=tmp_path / "b", part=(1, 2))
    with pytest.raises(DatasetError, match="which is not written"):
        predict_source(predictor, tree, tmp_path / "b", file_format="nifti,rtstruct", follow=tmp_path / "b")
    assert not list((tmp_path / "b").glob("*.dcm"))


def test_the_identity_of_series_is_found_in_the_tree(tree: Path) -> None:
    assert {series.planes[0].study_date for series in find_series(tree).images} == {"20240501", "20240807"}
