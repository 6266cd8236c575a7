"""What the user says about a data set, pictures, unknown trees, and channels on other grids."""

import os

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.core.dataset import read_dataset, write_dataset
from medseg.core.errors import DatasetError, FormatError
from medseg.core.labels import LabelScheme
from medseg.io import find_inputs, open_dataset, read_volume
from tests.io.trees import (
    files_of,
    make_nnunet,
    make_two_folders,
    names_of,
    problems_of,
    save_json,
    save_mask,
    save_nifti,
)


def save_picture(path, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (6, 5) if channels == 1 else (6, 5, channels)
    pixels = np.full(shape, 7, np.uint8)
    pixels[0, 0] = 9
    Image.fromarray(pixels).save(path)


def test_pictures_with_and_without_colours(tmp_path):
    for case, channels in (("a", 1), ("b", 3)):
        save_picture(tmp_path / "images" / f"{case}.png", channels)
        save_picture(tmp_path / "masks" / f"{case}.png")
    dataset = open_dataset(tmp_path, spacing_mm=(0.5, 0.5))
    assert dataset.channels == ("red", "green", "blue")
    assert dataset.spacing_mm == (0.5, 0.5)
    for case in dataset.cases:
        volume = read_volume(case, dataset.channels, spacing_mm=dataset.spacing_mm)
        assert volume.array.shape == (3, 6, 5, 1)
        assert volume.geometry.spacing_mm == (0.5, 0.5, 1.0)
        assert (volume.array[:, 0, 0] == 9).all()
        assert (volume.array[:, 1:] == 7).all()
    (tmp_path / "images" / "b.png").unlink()
    grey = open_dataset(tmp_path)
    assert grey.channels == ()
    assert files_of(grey.cases[0]) == [("a.png", None)]


def test_channels_by_the_user(tmp_path):
    root = make_nnunet(tmp_path / "n")
    chosen = open_dataset(root, channels=["PET"])
    assert chosen.channels == ("PET",)
    assert files_of(chosen.cases[0]) == [("a_0001.nii.gz", None)]
    assert open_dataset(root, channels=["X", "Y"]).channels == ("X", "Y")
    for wrong in (["X"], ["X", "Y", "Z"], ["X", "X"], [""]):
        with pytest.raises(DatasetError) as caught:
            open_dataset(root, channels=wrong)
        assert caught.value.code == "bad_channels"


def test_channels_by_the_user_open_4d_files(tmp_path):
    root = make_two_folders(tmp_path)
    for case in "ab":
        save_nifti(root / "images" / f"{case}.nii.gz", np.zeros((2, 3, 4, 2)))
    dataset = open_dataset(root, channels=["T1", "T2"])
    assert files_of(dataset.cases[0]) == [("a.nii.gz", 0), ("a.nii.gz", 1)]


def test_labels_by_the_user(tmp_path):
    scheme = LabelScheme.make({"lesion": 255})
    assert open_dataset(make_nnunet(tmp_path), labels=scheme).labels == scheme


@pytest.mark.parametrize("make", [lambda root: None, lambda root: save_nifti(root / "x.nii.gz")])
def test_an_unknown_tree_says_what_it_found_and_what_to_do(tmp_path, make):
    make(tmp_path)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert caught.value.code == "unknown_layout"
    assert "found" in caught.value.reason
    assert f"medseg check {tmp_path}" in caught.value.remedy


def test_paths_that_are_no_data_set(tmp_path):
    with pytest.raises(DatasetError, match="neither a folder nor a file"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(DatasetError, match="a single file"):
        open_dataset(save_nifti(tmp_path / "x.nii.gz"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"channel_names": {"0": "CT"}, "labels": [1]}, "labels are"),
        ({"channel_names": {"a": "CT"}, "labels": {"x": 1}}, "expected names under 0, 1"),
        ({"channel_names": {"0": "CT"}, "labels": {"x": 1, "y": 1}}, "both have the value 1"),
        ({"channel_names": {"0": "CT"}, "labels": {"x": -1}}, "not a whole number"),
        ({"modality": {"0": "CT"}, "labels": {"1": "x", "2": "x"}}, "both 'x'"),
    ],
)
def test_a_wrong_dataset_json_names_the_file(tmp_path, content, text):
    root = make_two_folders(tmp_path)
    file = save_json(root / "dataset.json", **content)
    with pytest.raises((DatasetError, FormatError), match=text) as caught:
        open_dataset(root)
    assert caught.value.file == str(file)
    file.write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        open_dataset(root)


def test_no_image_is_opened(tmp_path):
    root = make_two_folders(tmp_path)
    for path in root.rglob("*.nii.gz"):
        path.write_bytes(b"damaged")
    assert names_of(open_dataset(root).cases) == ["a", "b"]


def test_channels_on_other_grids_come_onto_the_first(tmp_path, caplog):
    caplog.set_level("INFO")
    fine, coarse = np.diag([1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1])
    save_nifti(tmp_path / "p1" / "ct.nii.gz", np.arange(216).reshape(6, 6, 6), fine)
    save_nifti(tmp_path / "p1" / "pet.nii.gz", np.indices((4, 4, 4))[0] * 2.0, coarse, np.float32)
    save_mask(tmp_path / "p1" / "seg.nii.gz", np.ones((6, 6, 6)), fine)
    dataset = open_dataset(tmp_path)
    volume = read_volume(dataset.cases[0], dataset.channels)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[1][:, 0, 0], np.arange(6))
    assert "pet.nii.gz (4x4x4 at 2x2x2 mm) brought onto the grid of the first channel" in caplog.text
    far = coarse.copy()
    far[0, 3] = 1e4
    nib.save(nib.Nifti1Image(np.indices((4, 4, 4), np.float32)[0], far), tmp_path / "p1" / "pet.nii.gz")
    with pytest.raises(ValueError, match="do not overlap") as caught:
        read_volume(dataset.cases[0], dataset.channels)
    assert caught.value.case == "p1"
    assert caught.value.file.endswith("pet.nii.gz")


def test_filling_is_remembered_by_the_cases(tmp_path):
    root = make_two_folders(tmp_path / "data")
    assert not open_dataset(root).fills_nonfinite
    filled = open_dataset(root, nonfinite="fill")
    assert all(case.fill_nonfinite for case in filled.cases)
    write_dataset(tmp_path / "cases.json", filled)
    assert all(case.fill_nonfinite for case in read_dataset(tmp_path / "cases.json").cases)
    with pytest.raises(DatasetError, match="expected refuse or fill"):
        open_dataset(root, nonfinite="drop")


def test_cases_with_names_that_no_text_holds_are_problems(tmp_path):
    root = make_two_folders(tmp_path, cases=("a", "b\n1"))
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["a"]
    assert problems_of(dataset) == [("b\\n1", "bad_name")]
    assert names_of(find_inputs(root / "images", 1).cases) == ["a"]


def test_a_pipe_among_the_tables_is_left_alone(tmp_path):
    root = make_two_folders(tmp_path)
    os.mkfifo(root / "notes.csv")
    assert len(open_dataset(root).cases) == 2
    os.mkfifo(root / "cases.tsv")
    with pytest.raises(FormatError, match="named pipe"):
        open_dataset(root / "cases.tsv")
