"""The corpus of bad and unusual inputs through every command that reads it, among good cases that must not notice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.core.errors import show_name
from medseg.core.records import read_json
from medseg.core.results import Measurement, Score, read_rows
from tests.bad_inputs import list_entries, write_entries
from tests.corpus.entry import Entry
from tests.end_to_end.command_line import Ended, medseg
from tests.end_to_end.scans import make_scan, write_data_set, write_scan

GOOD = [f"good_{number:02d}" for number in range(20)]
HU, LABELS, GRID = make_scan(3)
FILL = ("--nonfinite", "fill")
# The entries are one scan in many forms; as cases of one patient they may all be used.
ONE_SCAN = "--keep-equal-scans"
NAMED = ("--channels", "CT", "--labels", "organ=1,tumour=2", ONE_SCAN)
# What check thinks of the same mask on images that were changed.
DOUBTS = (" equal_masks, ", " mirrored_mask, ", " equal_scans, ")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt next to nothing."""
    space = tmp_path_factory.mktemp("workspace")
    data = write_data_set(tmp_path_factory.mktemp("data"))
    assert medseg("plan", data, "--workspace", space, "--preset", "cpu").code == 0
    assert medseg("preprocess", "--workspace", space, "--configuration", "2d").code == 0
    few = ["--set", "iterations_per_epoch=2", "--set", "batch_size=2"]
    assert medseg("train", "--workspace", space, "--configuration", "2d", "--epochs", "1", *few).code == 0
    assert medseg("choose", "--workspace", space).code == 0
    return space / "model"


def write_good(images: Path, masks: Path, names: Iterable[str] = GOOD) -> None:
    for seed, name in enumerate(names):
        write_scan(images / f"{name}.nii.gz", masks / f"{name}.nii.gz", seed + 1)


def write_sound(folder: Path, entry: Entry, array: np.ndarray) -> None:
    """The sound mask or scan that belongs to an entry."""
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, GRID.affine), folder / f"{entry.name}.nii.gz")


def vary(array: np.ndarray, number: int) -> np.ndarray:
    """The array with one voxel changed, another one for each number: a data set holds no scan twice."""
    changed = array.copy()
    place = (*divmod(number, array.shape[1]), 0)
    changed[place] = changed[place] != 1
    return changed


def write_varied(entries: Iterable[Entry], folder: Path, array: np.ndarray, affine: np.ndarray) -> dict[str, Path]:
    """Build entries, no two of which hold the same."""
    return {entry.name: entry.write(folder, vary(array, number), affine) for number, entry in enumerate(entries)}


def require_lines(ended: Ended, entries: Iterable[Entry], files: dict[str, Path]) -> None:
    """One line for each refused entry that names case, file, code and reason; none for a case that is not there."""
    assert not any("Traceback" in line or "Error:" in line for line in ended.lines)
    for entry in entries:
        lines = [line for line in ended.lines if line.startswith(f"{show_name(entry.name)}, ")]
        if entry.is_refused:
            assert len(lines) == 1, (entry.name, lines)
            assert any(f" {code}, " in lines[0] for code in entry.codes), lines[0]
            # Of a header whose data file is missing, that file is named; of a case with a bad name, its first one.
            path = files[entry.name]
            file = path.parent if " missing_file, " in lines[0] else path
            assert show_name(path.name if " bad_name, " in lines[0] else str(file)) in lines[0]
        else:
            assert lines == [], entry.name
            assert (
                any(entry.says in line and entry.name in line for line in ended.lines if entry.says) or not entry.says
            )


def require_outcomes(folder: Path, entries: Iterable[Entry]) -> None:
    """``run.json`` says of each refused entry why, and what to do."""
    found = {case["case"]: case for case in read_json(folder / "run.json")["cases"]}
    for entry in entries:
        case = found[show_name(entry.name)]
        assert case["status"] == ("refused" if entry.is_refused else "done"), case
        if entry.is_refused:
            assert case["code"] in entry.codes
            assert case["reason"]
            assert case["remedy"]
            assert case["outputs"] == {}


def test_predict_among_twenty_good_cases(model: Path, tmp_path: Path) -> None:
    write_good(tmp_path / "clean", tmp_path / "masks", [*GOOD, "base"])
    nib.save(nib.Nifti1Image(HU, GRID.affine), tmp_path / "clean" / "base.nii.gz")
    assert medseg("predict", tmp_path / "clean", tmp_path / "a", "--model", model).code == 0
    write_good(tmp_path / "mixed", tmp_path / "masks")
    entries = list_entries("scan", options=())
    files = write_entries(entries, tmp_path / "mixed", HU, GRID.affine)
    ended = medseg("predict", tmp_path / "mixed", tmp_path / "b", "--model", model)
    assert ended.code == 3
    require_lines(ended, entries, files)
    require_outcomes(tmp_path / "b", entries)
    for name in GOOD:
        assert (tmp_path / "b" / f"{name}.nii.gz").read_bytes() == (tmp_path / "a" / f"{name}.nii.gz").read_bytes()
    accepted = [entry for entry in entries if not entry.is_refused]
    masks = {path.name for path in (tmp_path / "b").glob("*.nii.gz")}
    assert masks == {f"{name}.nii.gz" for name in [*GOOD, *(entry.name for entry in accepted)]}
    base = np.asarray(nib.load(tmp_path / "a" / "base.nii.gz").dataobj)
    for entry in accepted:
        found = np.asarray(nib.load(tmp_path / "b" / f"{entry.name}.nii.gz").dataobj)
        assert found.shape == base.shape
        if entry.same:
            # Units and forms are float32: what is resampled may differ in the last digit, hardly a voxel.
            assert np.count_nonzero(found != base) <= base.size // 1000, entry.name


def test_predict_fills_what_is_not_finite_when_told_to(model: Path, tmp_path: Path) -> None:
    entries = list_entries("scan", options=FILL)
    files = write_entries(entries, tmp_path / "scans", HU, GRID.affine)
    ended = medseg("predict", tmp_path / "scans", tmp_path / "out", "--model", model, *FILL)
    assert ended.code == 3
    require_lines(ended, entries, files)
    require_outcomes(tmp_path / "out", entries)
    again = medseg("predict", tmp_path / "scans", tmp_path / "out", "--model", model)
    assert again.code == 2
    assert all("not_finite" in again.about(entry.name) for entry in entries)


@pytest.mark.parametrize("options", [(), FILL])
def test_check_names_every_bad_scan(options: tuple[str, ...], tmp_path: Path) -> None:
    entries = list_entries("scan", options=options)
    files = write_varied(entries, tmp_path / "images", HU, GRID.affine)
    write_good(tmp_path / "images", tmp_path / "masks", GOOD[:2])
    for number, entry in enumerate(entries):
        write_sound(tmp_path / "masks", entry, vary(LABELS, number))
    ended = medseg("check", tmp_path, *NAMED, *options)
    assert ended.code == 3
    on_other_grids = {entry.name for entry in entries if not entry.is_refused and not entry.same}
    lines = [line for line in ended.lines if line.partition(", ")[0] in on_other_grids and "_grid, " in line]
    lines += [line for line in ended.lines if any(doubt in line for doubt in DOUBTS)]
    kept = [line for line in ended.lines if line not in lines]
    require_lines(Ended(ended.code, ended.output, kept), entries, files)


def test_check_names_every_bad_mask(tmp_path: Path) -> None:
    entries = list_entries("mask")
    files = write_varied(entries, tmp_path / "masks", LABELS, GRID.affine)
    for number, entry in enumerate(entries):
        write_sound(tmp_path / "images", entry, vary(HU, number))
    ended = medseg("check", tmp_path, *NAMED)
    assert ended.code == 3
    require_lines(ended, entries, files)


def test_evaluate_and_measure_name_every_bad_mask(tmp_path: Path) -> None:
    entries = list_entries("mask")
    files = write_entries(entries, tmp_path / "masks", LABELS, GRID.affine)
    write_good(tmp_path / "images", tmp_path / "masks", GOOD[:2])
    write_good(tmp_path / "images", tmp_path / "references", GOOD[:2])
    for entry in entries:
        write_sound(tmp_path / "references", entry, LABELS)
    accepted = {entry.name for entry in entries if not entry.is_refused} | set(GOOD[:2])
    words = ["--labels", "organ=1,tumour=2", "--output", tmp_path / "tables"]
    ended = medseg("evaluate", tmp_path / "masks", tmp_path / "references", *words)
    assert ended.code == 3
    scores = read_rows(tmp_path / "tables" / "scores.csv", Score)
    assert {row.case for row in scores} == accepted
    assert {row.value for row in scores if row.metric == "dice" and row.instance == 0 and row.value is not None} == {
        1.0
    }
    unnamed = [entry for entry in entries if "bad_name" not in entry.codes]
    require_lines(ended, unnamed, files)
    ended = medseg("measure", tmp_path / "masks", *words)
    assert ended.code == 3
    require_lines(ended, entries, files)
    rows = read_rows(tmp_path / "tables" / "measurements.csv", Measurement)
    assert {row.case for row in rows} == accepted
    volumes = {row.case: row.value for row in rows if (row.quantity, row.label) == ("volume_ml", "organ")}
    expected = np.count_nonzero(LABELS == 1) * GRID.voxel_volume_ml
    for name in accepted - set(GOOD):
        assert volumes[name] == pytest.approx(expected, rel=1e-5)


def test_measure_names_every_bad_image(tmp_path: Path) -> None:
    entries = list_entries("scan", options=())
    files = write_entries(entries, tmp_path / "images", HU, GRID.affine)
    write_good(tmp_path / "images", tmp_path / "masks", GOOD[:2])
    for entry in entries:
        write_sound(tmp_path / "masks", entry, LABELS)
    words = ["--labels", "organ=1,tumour=2", "--output", tmp_path / "tables", "--images", tmp_path / "images"]
    ended = medseg("measure", tmp_path / "masks", *words)
    assert ended.code == 3
    refused = [entry for entry in entries if entry.is_refused and "bad_name" not in entry.codes]
    require_lines(ended, refused, files)


def test_check_names_every_bad_picture(tmp_path: Path) -> None:
    entries = list_entries("picture")
    pixels = np.random.default_rng(5).integers(0, 255, (24, 20, 1)).astype(np.uint8)
    files = write_varied(entries, tmp_path / "images", pixels, np.eye(4))
    (tmp_path / "masks").mkdir()
    for number, entry in enumerate(entries):
        cells = vary((pixels > 128).astype(np.uint8), number)
        Image.fromarray(cells[..., 0]).save(tmp_path / "masks" / f"{entry.name}.png")
    ended = medseg("check", tmp_path, "--labels", "cell=1", "--channels", "red,green,blue", ONE_SCAN)
    assert ended.code == 3
    require_lines(ended, entries, files)
