"""What a report is made of: results, never a data set's own masks."""

import html
import json
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import DatasetError
from medseg.reporting.folders import report_folder
from tests.io.trees import make_nnunet, make_two_folders, save_json, save_mask, save_nifti

SCAN = np.random.default_rng(0).integers(0, 200, (12, 11, 10))
MASK = np.pad(np.ones((4, 4, 4)), ((4, 4), (4, 3), (3, 3)))


def make_msd(root: Path) -> Path:
    for case in ("a", "b"):
        save_nifti(root / "imagesTr" / f"{case}.nii.gz", SCAN)
        save_mask(root / "labelsTr" / f"{case}.nii.gz", MASK)
    entries = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in ("a", "b")]
    save_json(root / "dataset.json", modality={"0": "MRI"}, labels={"0": "background", "1": "organ"}, training=entries)
    return root


def make_case_folders(root: Path) -> Path:
    for case in ("p1", "p2"):
        save_nifti(root / case / "t1.nii.gz", SCAN)
        save_mask(root / case / "seg.nii.gz", MASK)
    return root


@pytest.mark.parametrize("make", [make_nnunet, make_two_folders, make_msd, make_case_folders])
def test_a_raw_data_set_holds_no_result(tmp_path: Path, make: object) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(DatasetError, match="it holds no result") as caught:
        report_folder(tmp_path)
    assert caught.value.code == "no_results"
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_a_data_set_with_one_case_holds_none_either(tmp_path: Path) -> None:
    make_two_folders(tmp_path, cases=("a",))
    with pytest.raises(DatasetError, match="it holds no result"):
        report_folder(tmp_path)


def test_masks_in_the_folder_are_results(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scans" / "a.nii.gz", SCAN)
    save_mask(tmp_path / "masks" / "a.nii.gz", MASK)
    outcomes, path = report_folder(tmp_path / "masks", images=tmp_path / "scans")
    assert [(outcome.case, outcome.status) for outcome in outcomes] == [("a", "done")]
    assert path.is_file()


def test_a_folder_per_case_without_its_scan_is_a_result(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scans" / "a.nii.gz", SCAN)
    save_nifti(tmp_path / "scans" / "b.nii.gz", SCAN)
    save_mask(tmp_path / "masks" / "a" / "a.nii.gz", MASK)
    save_mask(tmp_path / "masks" / "b" / "liver.nii.gz", MASK)
    save_mask(tmp_path / "masks" / "b" / "spleen.nii.gz", 0 * MASK)
    outcomes, _ = report_folder(tmp_path / "masks", images=tmp_path / "scans")
    assert {outcome.case for outcome in outcomes} == {"a", "b"}


def test_references_are_not_drawn_as_predictions_beside_tables(tmp_path: Path) -> None:
    make_nnunet(tmp_path, channels=("CT",))
    (tmp_path / "scores.csv").write_text(
        "case,patient,day,fold,label,instance,metric,definition,value,unit,status\na,a,,,tumour,0,dice,voxel,0.5,,ok\n"
    )
    outcomes, path = report_folder(tmp_path, images=tmp_path / "imagesTr")
    assert outcomes == []
    assert "tumour" in path.read_text("utf-8")


def test_what_training_found_wrong_stands_in_the_report_once(tmp_path: Path) -> None:
    save_mask(tmp_path / "predictions" / "a.nii.gz", MASK)
    found = [["'cyst' has not been predicted once: train longer"], [], ["memory fallback: less"]]
    for fold, alarms in enumerate(found):
        run = tmp_path / "runs" / "3d_fullres" / f"fold_{fold}"
        both = [{"alarms": ["read from the disk"]}, {"alarms": alarms}]
        records = [{"epoch": n, "loss": 0.5, "patch_dice": {"tumour": 0.1}, **part} for n, part in enumerate(both)]
        run.mkdir(parents=True)
        (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    page = html.unescape(report_folder(tmp_path)[1].read_text("utf-8"))
    assert "Training 3d_fullres fold 0: 'cyst' has not been predicted once: train longer" in page
    assert page.count("Training 3d_fullres fold 0, 3d_fullres fold 1, 3d_fullres fold 2: read from the disk") == 1
    assert "Training 3d_fullres fold 2: memory fallback: less" in page


def test_dicom_objects_of_the_run_are_counted(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scans" / "a.nii.gz", SCAN)
    save_mask(tmp_path / "masks" / "a.nii.gz", MASK)
    objects = {
        "a.seg.dcm": "DICOM SEG, binary, of liver",
        "b.seg.dcm": "DICOM SEG, binary, of liver",
        "a.sr.dcm": "SR, 1",
    }
    save_json(tmp_path / "masks" / "run.json", objects=objects)
    _, path = report_folder(tmp_path / "masks", images=tmp_path / "scans")
    assert "Written beside the masks, read back and compared: 2 x DICOM SEG, 1 x SR" in path.read_text("utf-8")
