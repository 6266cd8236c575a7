"""What to segment: the reading of four-digit suffixes, single files, data sets."""

import numpy as np
import pytest
from PIL import Image

from medseg.core.errors import DatasetError
from medseg.io import find_inputs, read_volume
from tests.io.trees import files_of, make_nnunet, make_two_folders, names_of, problems_of, save_nifti


def make_folder(folder, *stems):
    for stem in stems:
        save_nifti(folder / f"{stem}.nii.gz")
    return folder


@pytest.mark.parametrize(
    ("stems", "count", "cases", "problems"),
    [
        (("a", "b"), 1, ["a", "b"], []),
        (("a_0000", "b_0000"), 1, ["a", "b"], []),
        (("a_0000", "a_0001"), 1, ["a_0000", "a_0001"], []),
        (("a_0000", "b"), 1, ["a_0000", "b"], []),
        (("a_0000", "a_0001", "b_0000", "b_0001"), 2, ["a", "b"], []),
        (("a_0000", "a_0001", "b_0000"), 2, ["a"], [("b", "missing_channel")]),
        (("a", "b"), 2, [], [("a", "missing_channel"), ("b", "missing_channel")]),
        (("a_2019", "b_2020"), 1, ["a_2019", "b_2020"], []),
    ],
)
def test_suffixes(tmp_path, stems, count, cases, problems):
    dataset = find_inputs(make_folder(tmp_path, *stems), count)
    assert names_of(dataset.cases) == cases
    assert problems_of(dataset) == problems
    assert all(len(case.images) == count and case.mask is None for case in dataset.cases)
    assert ("four-digit suffix" in dataset.layout) == (bool(cases) and cases[0] not in stems)


def test_single_files(tmp_path):
    make_folder(tmp_path, "a", "b_0000", "b_0001")
    assert files_of(find_inputs(tmp_path / "a.nii.gz", 1).cases[0]) == [("a.nii.gz", None)]
    both = find_inputs(tmp_path / "b_0000.nii.gz", 2)
    assert names_of(both.cases) == ["b"]
    assert files_of(both.cases[0]) == [("b_0000.nii.gz", None), ("b_0001.nii.gz", None)]
    assert problems_of(find_inputs(tmp_path / "a.nii.gz", 2)) == [("a", "missing_channel")]


def test_a_single_file_has_the_name_that_it_has_in_a_folder(tmp_path):
    make_folder(tmp_path, "a_0000", "b_0000", "b_0001", "c_2019")
    names = {stem: find_inputs(tmp_path / f"{stem}.nii.gz", 1).cases[0].name for stem in ("a_0000", "b_0000", "c_2019")}
    assert names == {"a_0000": "a", "b_0000": "b_0000", "c_2019": "c_2019"}


def test_suffixes_that_are_no_channels_are_said(tmp_path):
    assert "belong to the names" in find_inputs(make_folder(tmp_path, "a_0000", "a_0001"), 1).layout


def test_four_dimensions_are_channels(tmp_path):
    save_nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4, 2)))
    assert files_of(find_inputs(tmp_path, 2).cases[0]) == [("a.nii.gz", 0), ("a.nii.gz", 1)]


def test_pictures_in_grey_and_colour(tmp_path):
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / "a.png")
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(tmp_path / "b.png")
    for case in find_inputs(tmp_path, 3).cases:
        assert read_volume(case, ("r", "g", "b")).array.shape == (3, 4, 5, 1)
    with pytest.raises(DatasetError, match=r"3 channels, expected 1"):
        read_volume(find_inputs(tmp_path, 1).cases[0], ("grey",))


def test_data_sets(tmp_path):
    root = make_nnunet(tmp_path / "n")
    (root / "labelsTr" / "a.nii.gz").unlink()
    dataset = find_inputs(root, 2)
    assert names_of(dataset.cases) == ["a", "b"]
    assert dataset.problems == ()
    assert dataset.layout == "all cases of a data set (nnU-Net raw)"
    make_folder(root / "imagesTs", "t_0000", "t_0001")
    assert names_of(find_inputs(root, 2).cases) == ["t"]
    assert names_of(find_inputs(root / "imagesTs", 2).cases) == ["t"]
    assert names_of(find_inputs(make_two_folders(tmp_path / "two"), 1).cases) == ["a", "b"]


def test_nothing_to_segment(tmp_path):
    with pytest.raises(DatasetError):
        find_inputs(tmp_path, 1)
    with pytest.raises(DatasetError):
        find_inputs(tmp_path / "gone", 1)
