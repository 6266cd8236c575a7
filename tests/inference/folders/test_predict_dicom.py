"""Scans from a tree of DICOM files: the masks that the same scans as NIfTI get, and objects for the archive."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import DatasetError, FormatError
from medseg.core.records import read_json
from medseg.inference import Predictor
from medseg.inference.folders.source import predict_source
from medseg.io import read_image, write_volume
from medseg.io.dicom import report_sr
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.scans import find_scans, name_case
from medseg.io.dicom.seg_read import read_seg
from medseg.io.dicom.sr_read import read_report
from tests.inference.examples import write_model
from tests.io.dicom_series import AXIAL, CORONAL, pile, write
from tests.io.dicom_situations import SITUATIONS
from tests.preprocessing.examples import make_scan

ALL = "nifti,dicom-seg,rtstruct,sr"
SHAPE = (14, 15)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two usable series and one with a missing slice."""
    for number, (name, axes) in enumerate((("axial", AXIAL), ("coronal", CORONAL), ("gap", AXIAL))):
        planes = [replace(plane, shape=SHAPE) for plane in pile(9, axes=axes)]
        if name == "gap":
            planes = planes[:4] + planes[5:]
        uid = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        planes = [plane.but(SeriesInstanceUID=uid) for plane in planes]
        write(tmp_path / "tree" / "DOE^JOHN" / name, planes)
    return tmp_path / "tree"


def test_masks_are_those_of_the_same_scans_as_nifti(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    outcomes = predict_source(predictor, tree, tmp_path / "out", file_format=ALL)
    assert [outcome.status for outcome in outcomes].count("done") == 2
    (refused,) = [outcome for outcome in outcomes if outcome.status == "refused"]
    assert refused.code == "missing_slice"
    for series in find_series(tree).images:
        name = name_case(series)
        if name == refused.case:
            assert not list((tmp_path / "out").glob(f"{name}*"))
            continue
        volume, source, _ = read_series(series)
        write_volume(tmp_path / "nifti" / f"{name}.nii.gz", volume)
        mask = read_image(tmp_path / "out" / f"{name}.nii.gz")
        assert mask.geometry.same_grid(source.geometry)
        assert mask.array.any()
        segmentation = read_seg(tmp_path / "out" / f"{name}.seg.dcm")
        assert segmentation is not None
        assert read_report(tmp_path / "out" / f"{name}.sr.dcm")
        contours = pydicom.dcmread(tmp_path / "out" / f"{name}.rtstruct.dcm")
        assert contours.ApprovalStatus == "UNAPPROVED"
        assert contours.StudyInstanceUID == source.study_uid
    predict_source(predictor, tmp_path / "nifti", tmp_path / "same")
    for path in (tmp_path / "same").glob("*.nii.gz"):
        assert np.array_equal(read_image(path).array, read_image(tmp_path / "out" / path.name).array)


def test_a_rerun_does_nothing_again_and_a_changed_slice_is_seen(
    predictor: Predictor, tree: Path, tmp_path: Path
) -> None:
    first = predict_source(predictor, tree, tmp_path / "out", file_format=ALL)
    again = predict_source(predictor, tree, tmp_path / "out", file_format=ALL)
    assert sorted(outcome.status for outcome in again) == ["refused", "skipped", "skipped"]
    assert [outcome.outputs for outcome in first] == [outcome.outputs for outcome in again]
    path = next((tree / "DOE^JOHN" / "axial").iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = predict_source(predictor, tree, tmp_path / "out", file_format=ALL)
    assert sorted(outcome.status for outcome in changed) == ["done", "refused", "skipped"]


def test_a_case_whose_object_cannot_be_written_leaves_nothing(
    predictor: Predictor, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise FormatError("cannot be written", code="not_read_back")

    monkeypatch.setattr(report_sr, "write_report", refuse)
    outcomes = predict_source(predictor, tree, tmp_path / "out", file_format=ALL)
    assert {outcome.status for outcome in outcomes} == {"refused"}
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == ["run.json"]
    assert len(read_json(tmp_path / "out" / "run.json")["cases"]) == 3


def test_the_router_s_folders_are_taken_where_none_are_named(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / "model", folds=(0,))
    monkeypatch.setenv("MERCURE_IN_DIR", str(tree))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(tmp_path / "out"))
    command = ["predict", "--model", str(tmp_path / "model"), "--format", "dicom-seg", "--no-mirroring"]
    ended = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert ended.exit_code == 3  # the series that lacks a slice
    assert len(list((tmp_path / "out").glob("*.seg.dcm"))) == 2


def test_objects_need_dicom(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="needs scans that are read from DICOM"):
        predict_source(predictor, write_scan(tmp_path), tmp_path / "out", file_format="nifti,dicom-seg")
    with pytest.raises(DatasetError, match="unknown format 'dicomseg'"):
        predict_source(predictor, write_scan(tmp_path), tmp_path / "out", file_format="dicomseg")


def write_scan(folder: Path) -> Path:
    write_volume(folder / "scans" / "a.nii.gz", make_scan()[0])
    return folder / "scans"


def test_the_channel_s_name_chooses_the_modality(tree: Path) -> None:
    assert len(find_scans(tree, ["CT"]).dataset.cases) == 2
    assert len(find_scans(tree, ["c0"]).dataset.cases) == 2  # a name that means no modality
    with pytest.raises(DatasetError, match=r"no series fits .*MRI: Modality=MR.* among 3 series"):
        find_scans(tree, ["MRI"])


def test_names_hold_no_patient(tree: Path) -> None:
    for name in find_scans(tree, ["CT"]).series:
        assert "DOE" not in name
        assert name.isascii()
        assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_ends_with_masks_or_reasons(predictor: Predictor, name: str, tmp_path: Path) -> None:
    situation = SITUATIONS[name]
    situation.make(tmp_path / "tree")
    if not situation.counts and not situation.codes:
        with pytest.raises(DatasetError, match="no series"):
            predict_source(predictor, tmp_path / "tree", tmp_path / "out", **situation.options)
        return
    outcomes = predict_source(predictor, tmp_path / "tree", tmp_path / "out", **situation.options)
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    refused = [outcome for outcome in outcomes if outcome.status == "refused"]
    assert len(done) + len(refused) == len(outcomes)
    assert tuple(sorted(outcome.code for outcome in refused)) == situation.codes
    assert all(outcome.reason and outcome.remedy for outcome in refused)
    masks = sorted((tmp_path / "out").glob("*.nii.gz"))
    assert tuple(sorted(read_image(path).geometry.shape[2] for path in masks)) == situation.counts
    assert [path.name.removesuffix(".nii.gz") for path in masks] == sorted(outcome.case for outcome in done)
