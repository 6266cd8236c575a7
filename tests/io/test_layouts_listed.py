"""nnU-Net raw and the Decathlon: layouts with a ``dataset.json``."""

import numpy as np
from PIL import Image

from medseg.core.labels import LabelScheme
from medseg.io import open_dataset, read_volume
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


def test_nnunet(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", cases=("b", "a", "c_0001"))
    save_nifti(root / "imagesTs" / "t_0000.nii.gz")
    save_nifti(root / "imagesTs" / "t_0001.nii.gz")
    save_mask(root / "labelsTs" / "t.nii.gz")
    dataset = open_dataset(root)
    assert dataset.layout == "nnU-Net raw"
    assert dataset.name == "Dataset001_X"
    assert names_of(dataset.cases) == ["a", "b", "c_0001"]
    assert dataset.channels == ("CT", "PET")
    assert dataset.labels == LabelScheme.make({"tumour": 1})
    assert files_of(dataset.cases[0]) == [("a_0000.nii.gz", None), ("a_0001.nii.gz", None)]
    assert dataset.cases[0].mask.path == root / "labelsTr" / "a.nii.gz"
    assert names_of(dataset.test_cases) == ["t"]
    assert dataset.test_cases[0].mask.path.name == "t.nii.gz"
    assert dataset.problems == ()
    volume = read_volume(dataset.cases[0], dataset.channels)
    assert volume.array.shape == (2, 2, 3, 4)
    assert volume.channels == ("CT", "PET")


def test_nnunet_faults_are_problems_and_the_others_stay(tmp_path):
    root = make_nnunet(tmp_path, cases=("a", "b", "c", "d"))
    (root / "imagesTr" / "a_0001.nii.gz").unlink()
    (root / "labelsTr" / "b.nii.gz").unlink()
    save_mask(root / "labelsTr" / "ghost.nii.gz")
    save_nifti(root / "imagesTr" / "plain.nii.gz")
    save_nifti(root / "imagesTr" / "c_0002.nii.gz")
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["c", "d"]
    assert problems_of(dataset) == [
        ("a", "missing_channel"),
        ("b", "missing_mask"),
        ("ghost", "orphan_mask"),
        ("plain", "bad_name"),
    ]
    assert any("c: channel files beyond" in note for note in dataset.notes)
    for problem in dataset.problems:
        assert problem.file
        assert problem.remedy
        assert "\n" not in str(problem)


def test_nnunet_regions_ignore_and_order(tmp_path):
    root = make_nnunet(tmp_path)
    save_json(
        root / "dataset.json",
        channel_names={"0": "T1", "1": "T2"},
        labels={"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        regions_class_order=[1, 2],
        file_ending=".nii.gz",
    )
    scheme = open_dataset(root).labels
    assert scheme.names == ("whole", "core")
    assert scheme.ignore == 3
    assert scheme.paint_order == (1, 2)


def test_nnunet_listed_files_and_other_ending(tmp_path):
    root = make_nnunet(tmp_path, cases=("a",))
    names = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "x": 1}}
    listed = {
        "one": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii.gz"},
        "two": {"images": ["imagesTr/gone.nii.gz"], "label": "labelsTr/a.nii.gz"},
        "three": {},
    }
    save_json(root / "dataset.json", **names, dataset=listed)
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["one"]
    assert problems_of(dataset) == [("three", "bad_record"), ("two", "missing_channel")]
    save_json(root / "dataset.json", **names, file_ending=".nrrd")
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["a"]
    assert any("says .nrrd" in note for note in dataset.notes)


def test_nnunet_colours_in_one_png(tmp_path):
    for case in "ab":
        for folder in ("imagesTr", "labelsTr"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(tmp_path / "imagesTr" / f"{case}_0000.png")
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "labelsTr" / f"{case}.png")
    channels = {"0": "R", "1": "G", "2": "B"}
    save_json(tmp_path / "dataset.json", channel_names=channels, labels={"background": 0, "x": 1}, file_ending=".png")
    dataset = open_dataset(tmp_path)
    assert files_of(dataset.cases[0]) == [("a_0000.png", 0), ("a_0000.png", 1), ("a_0000.png", 2)]
    assert read_volume(dataset.cases[0], dataset.channels).array.shape == (3, 4, 5, 1)


def make_msd(root, modality, volumes):
    for case in ("a", "b"):
        save_nifti(root / "imagesTr" / f"{case}.nii.gz", np.arange(24 * volumes).reshape(2, 3, 4, volumes).squeeze())
        save_mask(root / "labelsTr" / f"{case}.nii.gz")
    training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "ab"]
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    save_json(root / "dataset.json", name="X", modality=modality, labels=labels, training=training, test=[])
    return training


def test_msd(tmp_path):
    make_msd(tmp_path, {"0": "T2", "1": "ADC"}, 2)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "Medical Segmentation Decathlon"
    assert dataset.channels == ("T2", "ADC")
    assert dataset.labels == LabelScheme.make({"Anterior": 1, "Posterior": 2})
    assert files_of(dataset.cases[1]) == [("b.nii.gz", 0), ("b.nii.gz", 1)]
    volume = read_volume(dataset.cases[0], dataset.channels)
    np.testing.assert_array_equal(volume.array[1], np.arange(48).reshape(2, 3, 4, 2)[..., 1])


def test_msd_single_channel_tests_and_faults(tmp_path):
    training = make_msd(tmp_path, {"0": "MRI"}, 1)
    save_nifti(tmp_path / "imagesTs" / "t.nii.gz")
    save_nifti(tmp_path / "imagesTr" / "extra.nii.gz")
    save_nifti(tmp_path / "imagesTr" / "nomask.nii.gz")
    training += [{"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/a.nii.gz"}, training[0]]
    training += [{"image": "./imagesTr/b.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    training += [{"image": "./imagesTr/nomask.nii.gz", "label": "./labelsTr/nomask.nii.gz"}]
    tests = ["./imagesTs/t.nii.gz"]
    save_json(tmp_path / "dataset.json", modality=["MRI"], labels={"1": "x"}, training=training, test=tests)
    dataset = open_dataset(tmp_path)
    assert files_of(dataset.cases[0]) == [("a.nii.gz", None)]
    assert names_of(dataset.test_cases) == ["t"]
    assert names_of(dataset.cases) == ["a"]  # listed twice alike; b with two masks
    assert problems_of(dataset) == [("b", "duplicate_case"), ("gone", "missing_image"), ("nomask", "missing_mask")]
    assert dataset.notes[:1] == ("1 files of imagesTr that dataset.json does not list are left out",)


def test_msd_list_over_suffixed_files_as_nnunet_1_wrote_it(tmp_path):
    root = make_nnunet(tmp_path)
    training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "ab"]
    (root / "imagesTr" / "b_0001.nii.gz").unlink()
    names = {"modality": {"0": "T1", "1": "T2"}, "labels": {"0": "background", "1": "x"}}
    save_json(root / "dataset.json", **names, training=training)
    dataset = open_dataset(root)
    assert files_of(dataset.cases[0]) == [("a_0000.nii.gz", None), ("a_0001.nii.gz", None)]
    assert problems_of(dataset) == [("b", "missing_image")]


def test_channel_names_beside_plain_image_names(tmp_path):
    root = make_two_folders(tmp_path, images="imagesTr", masks="labelsTr")
    save_json(root / "dataset.json", channel_names={"0": "CT"}, labels={"background": 0, "x": 1})
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["a", "b"]
    assert dataset.channels == ("CT",)
