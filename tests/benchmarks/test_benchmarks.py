"""The benchmarks' own rules: the split, the score, the recipe's folders, and that every script starts."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from benchmarks.clock import Clocked, clock_command, median
from benchmarks.data_sets import find_layout, list_validation_cases, score_masks
from benchmarks.nnunet_folders import DATASET_NAME, make_raw_folder

from medseg.core.fingerprint import CaseFingerprint
from medseg.planning import make_folds

SCRIPTS = Path(__file__).parents[2] / "scripts"


def write_mask(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.uint8), np.eye(4)), path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten cases: 4 voxels of label 1 and 6 of label 2 each, in the Decathlon's layout."""
    folder = tmp_path / "data"
    mask = np.repeat([0, 1, 2], [10, 4, 6]).reshape(5, 2, 2)
    names = [f"case_{number:02}" for number in range(10)]
    for name in names:
        write_mask(folder / "labelsTr" / f"{name}.nii.gz", mask)
        write_mask(folder / "imagesTr" / f"{name}.nii.gz", mask)
    described = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [{"image": f"./imagesTr/{name}.nii.gz"} for name in names],
    }
    (folder / "dataset.json").write_text(json.dumps(described), "utf-8")
    return folder


def test_split_is_that_of_medseg(data: Path) -> None:
    names = [f"case_{number:02}" for number in range(10)]
    shape = (5, 2, 2)
    cases = [
        CaseFingerprint(
            case=name, patient=name, day=None, shape=shape, spacing_mm=(1, 1, 1), cropped_shape=shape, label_ml={}
        )
        for name in names
    ]
    assert list_validation_cases(data) == sorted(make_folds(cases)[0]["validation"])


def test_score_is_the_mean_over_cases(data: Path, tmp_path: Path) -> None:
    first, second = list_validation_cases(data)
    right = np.repeat([0, 1, 2], [10, 4, 6]).reshape(5, 2, 2)
    half = np.repeat([0, 1, 0, 2], [10, 2, 2, 6]).reshape(5, 2, 2)  # Dice of label 1: 2 * 2 / (2 + 4)
    write_mask(tmp_path / "masks" / f"{first}.nii.gz", right)
    write_mask(tmp_path / "masks" / f"{second}.nii.gz", half)
    assert score_masks(tmp_path / "masks", data) == {"anterior": pytest.approx((1 + 2 / 3) / 2), "posterior": 1.0}


def test_plain_folders_are_a_data_set_too(data: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (data / "imagesTr").rename(plain / "images")
    (data / "labelsTr").rename(plain / "masks")
    assert find_layout(plain).labels == {"tumour": 1}
    assert find_layout(plain).cases == [f"case_{number:02}" for number in range(10)]
    validation = list_validation_cases(plain)
    assert score_masks(plain / "masks", plain) == {"tumour": 1.0}
    assert len(validation) == 2
    with pytest.raises(SystemExit, match="neither"):
        find_layout(tmp_path)


def test_missing_mask_is_not_skipped(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        score_masks(tmp_path, data)


def test_raw_folder_has_a_channel_file_per_case(data: Path, tmp_path: Path) -> None:
    assert make_raw_folder(find_layout(data), tmp_path / "nnunet") == 10
    raw = tmp_path / "nnunet" / "raw" / DATASET_NAME
    assert (raw / "imagesTr" / "case_03_0000.nii.gz").resolve() == (data / "imagesTr" / "case_03.nii.gz").resolve()
    described = json.loads((raw / "dataset.json").read_text("utf-8"))
    assert described["labels"] == {"background": 0, "anterior": 1, "posterior": 2}
    assert described["numTraining"] == len(list((raw / "labelsTr").iterdir())) == 10


def test_raw_folder_counts_the_cases_that_are_here(data: Path, tmp_path: Path) -> None:
    # nnU-Net refuses a data set that says it has more.
    for folder in ("imagesTr", "labelsTr"):
        (data / folder / "case_07.nii.gz").unlink()
    assert make_raw_folder(find_layout(data), tmp_path) == 9
    assert json.loads((tmp_path / "raw" / DATASET_NAME / "dataset.json").read_text("utf-8"))["numTraining"] == 9


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="exit code 3"):
        clock_command([sys.executable, "-c", "raise SystemExit(3)"])


def test_median() -> None:
    assert median([Clocked(1, 9), Clocked(5, 8), Clocked(2, 7)], "wall_s") == 2


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("bench_*.py")))
def test_every_script_says_what_it_does(script: str) -> None:
    done = subprocess.run([sys.executable, SCRIPTS / script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
