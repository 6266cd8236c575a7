"""Bad input through the command line: one line each with a remedy, the other cases go on, nothing half-written."""

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.core import atomic
from medseg.core.fingerprint import Fingerprint
from medseg.core.records import read_json
from medseg.core.results import Measurement, Score, read_rows
from tests.end_to_end.command_line import medseg
from tests.end_to_end.scans import TEST, TRAINING, write_data_set, write_scan

# Case: the code and a part of the remedy; the file stands in the line, too.
FAULTS = {
    "scan_1": ("labelsTr/scan_1", "missing_mask", "Add its mask"),
    "scan_2": ("imagesTr/scan_2_0000.nii.gz", "truncated", "Fetch it again"),
    "scan_3": ("labelsTr/scan_3.nii.gz", "other_grid", "Resample the mask"),
    "scan_4": ("labelsTr/scan_4.nii.gz", "bad_label_values", "--labels"),
    "scan_7": ("labelsTr/scan_7.nii.gz", "truncated", "Fetch it again"),
}


def cut_short(path: Path, length: int = 3000) -> None:
    path.write_bytes(path.read_bytes()[:length])


def change_mask(path: Path, *, shift_mm: float = 0, value: int | None = None) -> None:
    image = nib.load(path)
    array, affine = np.asanyarray(image.dataobj).copy(), image.affine.copy()
    affine[:3, 3] += shift_mm
    if value is not None:
        array[3:5, 3, 3] = value
    nib.save(nib.Nifti1Image(array, affine), path)


def break_cases(root: Path) -> Path:
    (root / "labelsTr" / "scan_1.nii.gz").unlink()
    cut_short(root / "imagesTr" / "scan_2_0000.nii.gz")
    change_mask(root / "labelsTr" / "scan_3.nii.gz", shift_mm=7)
    change_mask(root / "labelsTr" / "scan_4.nii.gz", value=9)
    cut_short(root / "labelsTr" / "scan_7.nii.gz", 100)
    return root


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return break_cases(write_data_set(tmp_path_factory.mktemp("broken")))


@pytest.fixture(scope="module")
def model(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt next to nothing."""
    space = tmp_path_factory.mktemp("workspace")
    assert medseg("plan", sound, "--workspace", space, "--preset", "cpu").code == 0
    assert medseg("preprocess", "--workspace", space, "--configuration", "2d").code == 0
    few = ["--set", "iterations_per_epoch=2", "--set", "batch_size=2"]
    assert medseg("train", "--workspace", space, "--configuration", "2d", "--epochs", "1", *few).code == 0
    assert medseg("choose", "--workspace", space).code == 0
    return space / "model"


@pytest.fixture(autouse=True)
def _nothing_half_written(tmp_path: Path) -> Iterator[None]:
    yield
    assert list(tmp_path.rglob(".tmp*")) == []


def test_check_names_every_fault_and_passes_the_rest(broken: Path) -> None:
    ended = medseg("check", broken)
    assert ended.code == 3
    assert len(ended.lines) == len(FAULTS)
    for case, (file, code, remedy) in FAULTS.items():
        line = ended.about(case)
        assert code in line
        assert remedy in line
        assert (file if code != "missing_mask" else "imagesTr/scan_1_0000.nii.gz") in line
    assert "3 cases can be used, 5 problems" in ended.output


def test_a_case_with_two_faults_has_two_lines(sound: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    cut_short(root / "imagesTr" / "scan_2_0000.nii.gz")
    change_mask(root / "labelsTr" / "scan_2.nii.gz", value=9)
    ended = medseg("check", root, "--json")
    assert ended.code == 3
    codes = {case["code"] for case in json.loads(ended.output)["cases"] if case["case"] == "scan_2"}
    assert codes == {"truncated", "bad_label_values"}


def test_the_whole_run_goes_on_without_the_bad_cases(broken: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(broken, tmp_path / "data"))
    cut_short(root / "imagesTs" / "scan_9_0000.nii.gz")
    space = tmp_path / "workspace"
    words = ["--epochs", "1", "--folds", "0", "--configurations", "2d", "--device", "cpu"]
    ended = medseg("run", root, "--workspace", space, *words)
    assert ended.code == 3
    assert ended.about("scan_9")
    used = {case.case for case in Fingerprint.read(space / "fingerprint.json").cases}
    assert used == set(TRAINING) - set(FAULTS)
    outcomes = read_json(space / "run.json")["cases"]
    refused = {case["case"]: case for case in outcomes if case["status"] == "refused"}
    assert set(refused) == {*FAULTS, "scan_9"}
    assert all(case["reason"] and case["remedy"] and case["inputs"] for case in refused.values())
    assert {row.case for row in read_rows(space / "scores.csv", Score)} == {"scan_10"}
    page = (space / "report.html").read_text("utf-8")
    assert all(case in page for case in refused)


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    for number, case in enumerate(("a", "b", "c")):
        image = tmp_path / "data" / "imagesTr" / f"{case}_0000.nii.gz"
        write_scan(image, tmp_path / "data" / "labelsTr" / f"{case}.nii.gz", number + 1)
        shutil.copy(image, image.with_name(f"{case}_0001.nii.gz"))
    (tmp_path / "data" / "imagesTr" / "b_0001.nii.gz").unlink()
    names = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "organ": 1, "tumour": 2}}
    (tmp_path / "data" / "dataset.json").write_text(
        json.dumps({**names, "numTraining": 3, "file_ending": ".nii.gz"}), "utf-8"
    )
    ended = medseg("check", tmp_path / "data")
    assert ended.code == 3
    assert "b_0001" in ended.about("b")
    assert "2 cases can be used, 1 problem" in ended.output


def test_nothing_that_can_be_used_ends_with_2(sound: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "data"))
    for image in (root / "imagesTr").iterdir():
        cut_short(image)
    assert medseg("check", root).code == 2
    ended = medseg("run", root, "--workspace", tmp_path / "workspace", "--epochs", "1")
    assert ended.code == 2
    assert ended.lines[-1].startswith("medseg: ")
    assert "no case can be used" in ended.lines[-1]
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["check", "{root}/nowhere"], "neither a folder nor a file"),
        (["check", "{root}/pile"], "medseg check {root}/pile"),
        (["check", "{sound}", "--channels", "CT,PET"], "--channels names 2"),
        (["check", "{sound}", "--labels", "organ"], "--labels liver=1"),
        (["plan", "{sound}", "--workspace", "{root}/w", "--preset", "best"], "Known: nnunet, resenc-m"),
        (["plan", "{sound}", "--workspace", "{root}/w", "--target-spacing-mm", "1,2"], "--target-spacing-mm 1,1,3"),
        (["plan", "{sound}", "--workspace", "{root}/w", "--gpu-memory-gb", "0"], "above 0"),
        (["preprocess", "--workspace", "{root}/w"], "Run medseg plan DATASET --workspace {root}/w first"),
        (["train", "--workspace", "{root}/w", "--configuration", "2d"], "Run medseg plan DATASET"),
        (["choose", "--workspace", "{root}/w"], "Run medseg plan DATASET"),
        (["predict", "{sound}/imagesTs", "{root}/out", "--model", "{sound}"], "no model.json"),
        (["predict", "{sound}/imagesTs", "{root}/out", "--model", "{root}/nowhere"], "no model.json"),
        (["evaluate", "{root}/pile", "{sound}/labelsTs", "--output", "{root}/out"], "same name"),
        (["measure", "{root}/nowhere", "--output", "{root}/out"], "neither a folder nor a file"),
        (["report", "{root}/w"], "Check the path"),
        (["report", "{root}/empty"], "medseg run, predict, evaluate or measure"),
        (["run", "{sound}", "--workspace", "{root}/w", "--budget", "soon"], "90s, 15m"),
        (["run", "{sound}", "--workspace", "{root}/w", "--budget", "9m", "--epochs", "3"], "not both"),
        (["run", "{sound}", "--workspace", "{root}/w", "--epochs", "1", "--device", "abacus"], "--device cpu"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(words: list[str], part: str, sound: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("one", "two"):
        write_scan(tmp_path / "pile" / f"{name}.nii.gz", tmp_path / "masks" / f"{name}.nii.gz", 1)
    ended = medseg(*(word.format(sound=sound, root=tmp_path) for word in words))
    assert ended.code == 2
    assert ended.output == ""
    said = [line for line in ended.lines if line.startswith(("medseg: ", "Error: "))]
    assert len(said) == 1
    assert part.format(root=tmp_path) in said[0]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--set", "depth=3"], "unknown setting 'depth'. Known: optimiser, learning_rate"),
        (["--set", "learning_rate=-1"], "greater than 0"),
        (["--set", "batch_size"], "is not key=value"),
        (["--fold", "9"], "There are: 0, 1"),
        (["--configuration", "4d"], "It has: 2d, 3d_fullres"),
        (["--configuration", "3d_fullres"], "Run medseg preprocess"),
    ],
)
def test_training_that_cannot_start_says_why(words: list[str], part: str, model: Path) -> None:
    ended = medseg("train", "--workspace", model.parent, "--configuration", "2d", *words)
    assert ended.code == 2
    assert part in ended.lines[-1]
    assert not (model.parent / "runs" / "3d_fullres").exists()


def test_a_budget_too_short_to_train_in_is_refused(sound: Path, tmp_path: Path) -> None:
    words = ["--budget", "5s", "--configurations", "2d", "--device", "cpu"]
    ended = medseg("run", sound, "--workspace", tmp_path / "workspace", *words)
    assert ended.code == 2
    assert "Give a longer --budget or fewer --folds" in ended.lines[-1]
    assert not (tmp_path / "workspace" / "runs").exists()


def test_a_scan_that_vanished_or_broke_is_left_out_of_the_prepared_cases(sound: Path, tmp_path: Path) -> None:
    root, space = Path(shutil.copytree(sound, tmp_path / "data")), tmp_path / "workspace"
    medseg("plan", root, "--workspace", space, "--preset", "cpu")
    (root / "imagesTr" / "scan_5_0000.nii.gz").unlink()
    cut_short(root / "labelsTr" / "scan_6.nii.gz", 100)
    ended = medseg("preprocess", "--workspace", space, "--configuration", "2d")
    assert ended.code == 3
    assert "scan_5_0000.nii.gz, missing_file" in ended.about("scan_5")
    assert "labelsTr/scan_6.nii.gz, truncated" in ended.about("scan_6")
    assert set(read_json(space / "prepared" / "2d" / "index.json")["cases"]) == set(TRAINING) - {"scan_5", "scan_6"}


def test_predict_goes_on_after_a_bad_scan(sound: Path, model: Path, tmp_path: Path) -> None:
    scans, output = Path(shutil.copytree(sound / "imagesTs", tmp_path / "scans")), tmp_path / "out"
    cut_short(scans / "scan_9_0000.nii.gz")
    ended = medseg("predict", scans, output, "--model", model)
    assert ended.code == 3
    assert "truncated" in ended.about("scan_9")
    assert "1 of 2 masks" in ended.output
    statuses = {case["case"]: case["status"] for case in read_json(output / "run.json")["cases"]}
    assert statuses == {"scan_9": "refused", "scan_10": "done"}
    assert {path.name for path in output.iterdir()} == {"run.json", "scan_10.nii.gz"}
    shutil.copy(sound / "imagesTs" / "scan_9_0000.nii.gz", scans)
    again = medseg("predict", scans, output, "--model", model)
    assert again.code == 0
    statuses = {case["case"]: case["status"] for case in read_json(output / "run.json")["cases"]}
    assert statuses == {"scan_9": "done", "scan_10": "skipped"}


def test_a_damaged_model_is_refused(model: Path, sound: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    weights = copy / "weights" / "2d" / "fold_0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    ended = medseg("predict", sound / "imagesTs", tmp_path / "out", "--model", copy)
    assert ended.code == 2
    assert "does not match its hash" in ended.lines[-1]
    assert not (tmp_path / "out").exists()


def test_evaluate_and_measure_go_on_after_bad_masks(sound: Path, tmp_path: Path) -> None:
    masks, tables = Path(shutil.copytree(sound / "labelsTr", tmp_path / "masks")), tmp_path / "tables"
    cut_short(masks / "scan_2.nii.gz", 100)
    change_mask(masks / "scan_3.nii.gz", shift_mm=7)
    change_mask(masks / "scan_4.nii.gz", value=9)
    (masks / "scan_5.nii.gz").unlink()
    shutil.copy(masks / "scan_6.nii.gz", masks / "other.nii.gz")
    ended = medseg("evaluate", masks, sound / "labelsTr", "--output", tables)
    assert ended.code == 3
    codes = {"scan_2": "truncated", "scan_3": "other_grid", "scan_4": "bad_label_values"}
    codes |= {"scan_5": "no_prediction", "other": "no_reference"}
    assert all(code in ended.about(case) for case, code in codes.items())
    assert {row.case for row in read_rows(tables / "scores.csv", Score)} == set(TRAINING) - set(codes)
    words = ["--labels", "organ=1,tumour=2", "--output", tables]
    ended = medseg("measure", masks, *words)
    assert ended.code == 3
    measured = {row.case for row in read_rows(tables / "measurements.csv", Measurement)}
    assert measured == {*TRAINING, "other"} - {"scan_2", "scan_4", "scan_5"}


def test_a_workspace_that_is_a_file_is_one_line(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = medseg("plan", sound, "--workspace", tmp_path / "file")
    assert ended.code == 1
    (line,) = ended.lines
    assert line.startswith(f"medseg: {tmp_path / 'file'}: it cannot be written: File exists. ")


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_full_disk_leaves_no_torn_case(step: str, sound: Path, tmp_path: Path) -> None:
    space = tmp_path / "workspace"
    medseg("plan", sound, "--workspace", space, "--preset", "cpu")

    def fail(name: str, path: Path) -> None:
        if name == step and path.name in ("scan_1.b2nd", "scan_2.reference.b2nd", "scan_3.json"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    words = ["preprocess", "--workspace", space, "--configuration", "2d"]
    with atomic.fault_hook(fail):
        ended = medseg(*words)
    assert ended.code == 1
    (line,) = [line for line in ended.lines if "No space left on device" in line]  # one for all cases
    assert line.startswith("medseg: scan_")
    assert "Make room there; the same command goes on" in line
    again = medseg(*words)
    assert again.code == 0
    assert "0 refused" in again.output
    assert read_json(space / "prepared" / "2d" / "index.json")["cases"] == sorted(TRAINING)
    assert list(space.rglob(".tmp*")) == []


def test_tables_on_a_full_disk_stay_as_they_were(sound: Path, tmp_path: Path) -> None:
    words = ["measure", sound / "labelsTs", "--output", tmp_path]
    assert medseg(*words).code == 0
    before = (tmp_path / "measurements.csv").read_bytes()

    def fail(name: str, path: Path) -> None:
        if name == "rename" and path.name == "measurements.csv":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with atomic.fault_hook(fail):
        ended = medseg(*words)
    assert ended.code == 1
    (line,) = ended.lines
    assert line.startswith(f"medseg: {tmp_path / 'measurements.csv'}: it cannot be written: No space left on device")
    assert (tmp_path / "measurements.csv").read_bytes() == before
    assert {row.case for row in read_rows(tmp_path / "measurements.csv", Measurement)} == set(TEST)
