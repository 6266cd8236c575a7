"""The example data sets: they come out the same again, and their masks agree with the true volumes."""

import csv
import gzip
import json
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.ndimage
from example_sets.cells_2d import write_cells_2d
from example_sets.patients import list_scans
from example_sets.phantom_ct import write_phantom_ct
from PIL import Image

ROOT = Path(__file__).parents[2] / "data_examples"
PHANTOM, CELLS = ROOT / "phantom_ct", ROOT / "cells_2d"
EVERYWHERE = np.ones((3, 3, 3))
CASES = [scan.case for scan in list_scans()]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@cache
def read_mask(case: str) -> tuple[np.ndarray, float]:
    """A mask and its voxels' volume, ml."""
    path = next(PHANTOM.glob(f"labelsT*/{case}.nii.gz"))
    image = nibabel.load(path)
    return np.asarray(image.dataobj), float(abs(np.linalg.det(image.affine[:3, :3]))) / 1000


@pytest.fixture(scope="module")
def one_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_phantom_ct(folder, [scan for scan in list_scans() if scan.case == "phantom_005"])
    return folder


def test_two_runs_write_the_same_bytes(one_scan: Path, tmp_path: Path) -> None:
    write_phantom_ct(tmp_path / "again", [scan for scan in list_scans() if scan.case == "phantom_005"])
    assert read_files(tmp_path / "again") == read_files(one_scan)
    write_cells_2d(tmp_path / "a", 2)
    write_cells_2d(tmp_path / "b", 2)
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")


def test_a_scan_made_anew_is_the_committed_one(one_scan: Path) -> None:
    # Unpacked: another zlib may pack the same content into other bytes.
    for name, content in read_files(one_scan).items():
        if name.endswith(".nii.gz"):
            assert gzip.decompress(content) == gzip.decompress((PHANTOM / name).read_bytes()), name
    committed = (PHANTOM / "volumes.csv").read_text().splitlines()
    assert set((one_scan / "volumes.csv").read_text().splitlines()) <= set(committed)


def test_cells_made_anew_are_the_committed_ones(tmp_path: Path) -> None:
    write_cells_2d(tmp_path, 2)
    for path in sorted(tmp_path.glob("*/*.png")):
        committed = CELLS / path.relative_to(tmp_path)
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(committed)))
    assert set((tmp_path / "areas.csv").read_text().splitlines()) <= set((CELLS / "areas.csv").read_text().splitlines())


@pytest.mark.parametrize("case", CASES)
def test_true_volumes_agree_with_the_mask(case: str) -> None:
    mask, voxel_ml = read_mask(case)
    rows = [row for row in read_table(PHANTOM / "volumes.csv") if row["case"] == case]
    whole = {row["label"]: row for row in rows if row["instance"] == "0"}
    for value, label in ((1, "organ"), (2, "tumour")):
        difference = (mask == value).sum() * voxel_ml - float(whole[label]["volume_ml"])
        assert abs(difference) <= float(whole[label]["bound_ml"])
    lesions = [row for row in rows if row["instance"] != "0"]
    components, count = scipy.ndimage.label(mask == 2, EVERYWHERE)
    assert count == len(lesions)
    voxels = sorted(np.bincount(components.ravel())[1:], reverse=True)
    for number, row in zip(voxels, lesions, strict=True):
        assert abs(number * voxel_ml - float(row["volume_ml"])) <= float(row["bound_ml"])


@pytest.mark.parametrize("case", CASES)
def test_lesions_lie_where_the_table_says(case: str) -> None:
    image = nibabel.load(next(PHANTOM.glob(f"labelsT*/{case}.nii.gz")))
    mask, _ = read_mask(case)
    components, count = scipy.ndimage.label(mask == 2, EVERYWHERE)
    order = np.argsort(-np.bincount(components.ravel())[1:]) + 1
    lesions = [row for row in read_table(PHANTOM / "volumes.csv") if row["case"] == case and row["instance"] != "0"]
    assert count == len(lesions)
    for component, row in zip(order, lesions, strict=True):
        index = np.argwhere(components == component)
        middle = nibabel.affines.apply_affine(image.affine, index.mean(axis=0))
        assert middle == pytest.approx([float(row[f"centroid_{axis}_mm"]) for axis in "xyz"], abs=1.5)


def test_bounds_say_something() -> None:
    # One surface each: the row of all tumour adds up the bounds of small lesions, which are wide.
    rows = [row for row in read_table(PHANTOM / "volumes.csv") if row["label"] == "organ" or row["instance"] != "0"]
    large = [row for row in rows if float(row["volume_ml"]) >= 10]
    assert len(large) > 40
    assert all(float(row["bound_ml"]) < 0.2 * float(row["volume_ml"]) for row in large)


def test_image_shows_what_the_mask_says() -> None:
    for case in CASES:
        mask, _ = read_mask(case)
        image = np.asarray(nibabel.load(next(PHANTOM.glob(f"imagesT*/{case}_0000.nii.gz"))).dataobj)
        organ = np.median(image[mask == 1])
        assert 90 <= organ <= 125
        if (mask == 2).any():
            assert 30 <= organ - np.median(image[mask == 2]) <= 90


def test_contents() -> None:
    cases, volumes = read_table(PHANTOM / "cases.csv"), read_table(PHANTOM / "volumes.csv")
    test_cases = {path.name.removesuffix(".nii.gz") for path in (PHANTOM / "labelsTs").iterdir()}
    patients = [{row["patient"] for row in cases if (row["case"] in test_cases) is part} for part in (True, False)]
    assert patients[0].isdisjoint(patients[1])
    assert (len(cases), len(test_cases)) == (30, 6)
    assert json.loads((PHANTOM / "dataset.json").read_text())["numTraining"] == 24
    assert sum(int(row["day"]) > 0 for row in cases) == 5
    lesions = [float(row["volume_ml"]) for row in volumes if row["instance"] != "0"]
    assert (min(lesions), max(lesions)) == (0.05, 60.0)
    empty = [row["case"] for row in volumes if row["label"] == "tumour" and float(row["volume_ml"]) == 0]
    assert len(empty) == 4
    assert len(test_cases.intersection(empty)) == 1


def test_grids_vary_and_both_forms_agree() -> None:
    codes, oblique = set(), 0
    for path in sorted(PHANTOM.glob("images*/*.nii.gz")):
        image = nibabel.load(path)
        assert image.get_data_dtype() == np.int16
        assert image.get_qform() == pytest.approx(image.get_sform(), abs=1e-4)
        mask = nibabel.load(path.parents[1] / path.parent.name.replace("images", "labels") / f"{path.name[:11]}.nii.gz")
        assert np.array_equal(mask.affine, image.affine)
        assert mask.shape == image.shape
        codes.add("".join(nibabel.aff2axcodes(image.affine)))
        oblique += bool(nibabel.affines.obliquity(image.affine).max() > 0.01)
    assert {"RAS", "LPS", "LAS"} < codes
    assert 10 <= oblique < 30


def test_cell_areas_agree_with_the_masks() -> None:
    rows = read_table(CELLS / "areas.csv")
    pictures = sorted((CELLS / "images").glob("*.png"))
    assert len(pictures) == 24
    for path in pictures:
        mask = np.asarray(Image.open(CELLS / "masks" / path.name))
        assert np.asarray(Image.open(path)).shape == mask.shape
        assert set(np.unique(mask)) == {0, 255}
        components, _ = scipy.ndimage.label(mask, np.ones((3, 3)))
        pixels = sorted(np.bincount(components.ravel())[1:], reverse=True)
        whole, *cells = [row for row in rows if row["case"] == path.stem]
        assert abs((mask > 0).sum() - float(whole["area_pixels"])) <= float(whole["bound_pixels"])
        assert len(pixels) == len(cells)
        # Two cells of nearly one size may swap places, which moves neither by more than their bounds.
        for number, row in zip(pixels, cells, strict=True):
            assert abs(number - float(row["area_pixels"])) <= float(row["bound_pixels"])


def test_the_whole_stays_small() -> None:
    assert sum(len(content) for content in read_files(ROOT).values()) < 8_000_000
    assert sum(len(content) for content in read_files(CELLS).values()) < 1_000_000
