"""Each form of DICOM object that predict writes: what it holds is the prediction, and the run says what was written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.errors import DatasetError
from medseg.core.label_codes import LabelCodes
from medseg.core.records import read_json
from medseg.inference import Predictor
from medseg.inference.folders.objects import ObjectOptions
from medseg.inference.folders.source import predict_source
from medseg.io import read_image
from medseg.io.dicom.codes import Code, find_code
from medseg.io.dicom.identity_names import make_slug
from medseg.io.dicom.seg_read import read_probabilities, read_seg, read_seg_mask
from medseg.io.dicom.sr_read import read_report
from medseg.io.probabilities import name_channels, name_files
from tests.inference.examples import write_model
from tests.io.dicom_series import AXIAL, CORONAL, pile, write

SHAPE = (14, 15)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, (name, axes) in enumerate((("axial", AXIAL), ("coronal", CORONAL))):
        planes = [replace(plane, shape=SHAPE) for plane in pile(9, axes=axes)]
        uid = f"1.2.826.0.1.3680043.8.498.{number + 1}"
        write(tmp_path / "tree" / name, [plane.but(SeriesInstanceUID=uid) for plane in planes])
    return tmp_path / "tree"


def predict(predictor: Predictor, tree: Path, output: Path, file_format: str, **options: Any) -> dict[str, Any]:
    outcomes = predict_source(predictor, tree, output, file_format=file_format, **options)
    assert {outcome.status for outcome in outcomes} == {"done"}
    for outcome in outcomes:
        assert all((output / name).is_file() for name in outcome.outputs)
    record: dict[str, Any] = read_json(output / "run.json")
    written = {name for outcome in outcomes for name in outcome.outputs if name.endswith(".dcm")}
    assert set(record["objects"]) == written
    return record


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_the_report_refers_to_a_binary_seg(predictor: Predictor, tree: Path, tmp_path: Path, seg_type: str) -> None:
    """Beside a label map too: that reports may refer to those is not known to all programs."""
    record = predict(predictor, tree, tmp_path / "out", "nifti,dicom-seg,sr", seg_type=seg_type)
    for case in (entry["case"] for entry in record["cases"]):
        asked = tmp_path / "out" / f"{case}.seg.dcm"
        path = asked if seg_type == "binary" else tmp_path / "out" / f"{case}.mask.seg.dcm"
        seg = read_seg(path)
        assert (read_seg(asked).kind, seg.kind) == (seg_type.upper(), "BINARY")
        mask = read_image(tmp_path / "out" / f"{case}.nii.gz")
        for written in {asked, path}:
            found = read_seg_mask(written, labels=predictor.model.plan.labels, like=mask.geometry)
            assert np.array_equal(found.segmentation.array, mask.array[0])
        groups = read_report(tmp_path / "out" / f"{case}.sr.dcm")
        uid = str(pydicom.dcmread(path).SOPInstanceUID)
        referred = [group.segment for group in groups if group.segment is not None]
        assert {number for _, number in referred} == set(seg.segments)
        assert {found for found, _ in referred} == {uid}
        lesions = {segment.tracking_id: segment.tracking_uid for segment in seg.segments.values()}
        assert lesions == {one.tracking_id: one.tracking_uid for one in read_seg(asked).segments.values()}
        for group in groups:
            assert group.tracking_uid == lesions.get(group.tracking_id, group.tracking_uid)
        assert record["objects"][asked.name].startswith(f"DICOM SEG, {seg_type}, of ")


def test_fractional_holds_the_probabilities_and_the_report_is_of_the_mask(
    predictor: Predictor, tree: Path, tmp_path: Path
) -> None:
    out, labels = tmp_path / "out", predictor.model.plan.labels
    record = predict(predictor, tree, out, "nifti,dicom-seg,sr", seg_type="fractional", save_probabilities=True)
    files = dict(zip(name_channels(labels), name_files(labels), strict=True))
    for case in (entry["case"] for entry in record["cases"]):
        seg = read_seg(out / f"{case}.seg.dcm")
        assert seg.kind == "FRACTIONAL"
        for number, segment in seg.segments.items():
            wanted = read_image(out / "probabilities" / case / f"{files[segment.name]}.nii.gz")
            found = read_probabilities(seg, number, wanted.geometry)
            assert np.abs(found - wanted.array[0]).max() <= 0.5 / 255 + 1e-6
        mask = read_image(out / f"{case}.nii.gz")
        measured = out / f"{case}.mask.seg.dcm"
        found_mask = read_seg_mask(measured, labels=labels, like=mask.geometry)
        assert np.array_equal(found_mask.segmentation.array, mask.array[0])
        uid = str(pydicom.dcmread(measured).SOPInstanceUID)
        groups = read_report(out / f"{case}.sr.dcm")
        assert {group.segment[0] for group in groups if group.segment} == {uid}


def test_codes_of_the_model_are_those_of_its_objects(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    label = predictor.model.plan.labels.names[0]
    codes = {label: LabelCodes(type=("A-1", "99OURS", "Our own structure"), region=("10200004", "SCT", "Liver"))}
    model = replace(predictor.model, record=predictor.model.record.model_copy(update={"codes": codes}))
    coded = replace(predictor, models=(model, *predictor.models[1:]))
    record = predict(coded, tree, tmp_path / "out", "dicom-seg,rtstruct")
    for case in (entry["case"] for entry in record["cases"]):
        segments = read_seg(tmp_path / "out" / f"{case}.seg.dcm").segments.values()
        (own,) = [segment for segment in segments if segment.name == label]
        assert own.kind == Code("A-1", "99OURS", "Our own structure")
        assert own.region == Code("10200004", "SCT", "Liver")
        assert own.category == find_code("AnatomicalStructure")
        unknown = [text for text in record["warnings"] if "no code is known" in text]
        assert not any(repr(label) in text for text in unknown)


def test_fractional_alone_keeps_no_other_file(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    predict(predictor, tree, tmp_path / "out", "dicom-seg", seg_type="fractional")
    names = {path.name.split(".", 1)[1] for path in (tmp_path / "out").glob("*.dcm")}
    assert names == {"seg.dcm"}
    assert not (tmp_path / "out" / "probabilities").exists()


def test_key_pictures_are_written_with_the_seg_that_they_are_drawn_from(
    predictor: Predictor, tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record = predict(predictor, tree, out, "key-pictures")
    for case in (entry["case"] for entry in record["cases"]):
        assert (out / f"{case}.seg.dcm").is_file()
        pictures = sorted((out / "key_pictures" / case).iterdir())
        assert pictures
        for picture in pictures:
            content = pydicom.dcmread(picture)
            assert content.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
            words = record["objects"][f"key_pictures/{case}/{picture.name}"]
            assert words.startswith("DICOM picture, key slice of ")
        stale = pictures[0].with_name("key_99.dcm")
        stale.write_bytes(b"of an earlier run")
    again = predict_source(predictor, tree, out, file_format="key-pictures")
    assert {outcome.status for outcome in again} == {"skipped"}
    (out / "run.json").unlink()
    predict(predictor, tree, out, "key-pictures")
    assert not list(out.rglob("key_99.dcm"))


def test_smooth_contours_say_what_they_change_or_are_refused(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    outcomes = predict_source(predictor, tree, tmp_path / "out", file_format="nifti,rtstruct", contours="smooth")
    record = read_json(tmp_path / "out" / "run.json")
    for outcome in outcomes:
        if outcome.status == "done":
            assert any("smooth contours" in text for text in record["warnings"] if text.startswith(outcome.case))
        else:
            assert outcome.code == "smooth_changes_volume"
            assert "--contours exact" in outcome.remedy
            assert not list((tmp_path / "out").glob(f"{outcome.case}*"))


def test_files_tell_the_patient_where_that_is_asked_for(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    (case, _) = (outcome.case for outcome in predict_source(predictor, tree, tmp_path / "a", with_identity=True))
    patient = pydicom.dcmread(next((tree / "axial").iterdir())).PatientID
    assert case.startswith(f"{make_slug(patient)}_")
    keys = [outcome.case for outcome in predict_source(predictor, tree, tmp_path / "b")]
    assert any(case.endswith(key) for key in keys)
    with pytest.raises(DatasetError, match="there is none"):
        predict_source(predictor, tmp_path / "b", tmp_path / "c", with_identity=True)


def test_options_without_their_format_are_refused(predictor: Predictor) -> None:
    labels = predictor.model.plan.labels
    for options, formats in (
        (ObjectOptions(contours="smooth"), ("nifti", "dicom-seg")),
        (ObjectOptions(seg_type="labelmap"), ("nifti", "rtstruct")),
        (ObjectOptions(seg_type="labelmap"), ("nifti", "sr")),
        (ObjectOptions(seg_type="fractional"), ("nifti", "sr")),
    ):
        with pytest.raises(DatasetError, match="is not written") as caught:
            options.check(formats, labels)
        assert "--format" in caught.value.remedy
    overlapping = labels.make({"whole": [1, 2], "core": [2]})
    with pytest.raises(DatasetError, match="share voxels"):
        ObjectOptions(seg_type="labelmap").check(("dicom-seg",), overlapping)


def test_the_command_line_takes_them(tmp_path: Path, tree: Path) -> None:
    write_model(tmp_path / "model", folds=(0,))
    command = ["predict", str(tree), str(tmp_path / "out"), "--model", str(tmp_path / "model"), "--device", "cpu"]
    options = ["--no-mirroring", "--format", "dicom-seg,key-pictures", "--seg-type", "labelmap"]
    ended = CliRunner().invoke(app, [*command, *options])
    assert ended.exit_code == 0, ended.output
    assert {read_seg(path).kind for path in (tmp_path / "out").glob("*.seg.dcm")} == {"LABELMAP"}
    refused = CliRunner().invoke(app, [*command, "--contours", "smooth"])
    assert refused.exit_code == 2
    assert "Add rtstruct to --format" in refused.output
