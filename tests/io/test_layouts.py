"""Every layout, built in a temporary folder; faults of single cases become problems and the others stay."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.core.errors import DatasetError, FormatError
from medseg.core.labels import LabelScheme
from medseg.io import open_dataset, read_segmentation, read_volume
from tests.io.trees import (
    files_of,
    make_nnunet,
    make_two_folders,
    names_of,
    problems_of,
    save_json,
    save_mask,
    save_nifti,
    save_text,
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
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "imagesTr" / f"{case}_0000.png")
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
    training += [{"image": "./imagesTr/nomask.nii.gz", "label": "./labelsTr/nomask.nii.gz"}]
    tests = ["./imagesTs/t.nii.gz"]
    save_json(tmp_path / "dataset.json", modality=["MRI"], labels={"1": "x"}, training=training, test=tests)
    dataset = open_dataset(tmp_path)
    assert files_of(dataset.cases[0]) == [("a.nii.gz", None)]
    assert names_of(dataset.test_cases) == ["t"]
    assert problems_of(dataset) == [("a", "duplicate_case"), ("gone", "missing_image"), ("nomask", "missing_mask")]
    assert dataset.notes == ("1 files of imagesTr that dataset.json does not list are left out",)


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


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("images", "labels"), ("imagesTr", "labelsTr"), ("Images", "Labels"), ("images", "seg")],
)
def test_two_folders(tmp_path, images, masks):
    dataset = open_dataset(make_two_folders(tmp_path, images=images, masks=masks))
    assert dataset.layout == f"two folders, {images} and {masks}"
    assert names_of(dataset.cases) == ["a", "b"]
    assert dataset.channels == ()
    assert dataset.labels is None
    assert dataset.problems == ()


def test_two_folders_with_names_patients_and_days(tmp_path):
    root = make_two_folders(tmp_path, cases=("a", "b", "c"))
    save_json(root / "dataset.json", channel_names={"0": "CT"}, labels={"background": 0, "liver": 1})
    save_text(root / "cases.csv", "case,patient,day,age\na,P1,0,50\nb,P1,31,50\nc,P2,soon,60\n")
    dataset = open_dataset(root)
    assert dataset.channels == ("CT",)
    assert dataset.labels.names == ("liver",)
    assert [(case.name, case.patient, case.day) for case in dataset.cases] == [("a", "P1", 0), ("b", "P1", 31)]
    assert problems_of(dataset) == [("c", "bad_day")]
    save_text(root / "cases.csv", "name,day\na,1\n")
    with pytest.raises(FormatError, match="expected case,patient,day"):
        open_dataset(root)


def test_patients_in_dataset_json(tmp_path):
    root = make_two_folders(tmp_path)
    save_json(root / "dataset.json", labels={"x": 1}, cases=[{"case": "a", "patient": "P", "day": 3}])
    assert [(case.patient, case.day) for case in open_dataset(root).cases] == [("P", 3), ("b", None)]


def test_two_folders_faults(tmp_path):
    root = make_two_folders(tmp_path, cases=("a", "b", "c"))
    (root / "masks" / "a.nii.gz").unlink()
    (root / "images" / "b.nii.gz").unlink()
    save_nifti(root / "images" / "d.nii.gz")
    save_nifti(root / "images" / "d.nii")
    save_mask(root / "masks" / "d.nii.gz")
    (root / "images" / ".hidden.nii.gz").write_bytes(b"x")
    (root / "images" / ".tmp-1-c.nii.gz").write_bytes(b"x")
    (root / "images" / "notes.txt").write_text("x")
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["c"]
    assert problems_of(dataset) == [
        ("a", "missing_mask"),
        ("b", "orphan_mask"),
        ("d", "duplicate_case"),
    ]


def test_masks_with_a_word_in_their_name(tmp_path):
    for case in "ab":
        save_nifti(tmp_path / "images" / f"{case}.nii.gz")
        save_mask(tmp_path / "masks" / f"{case}_mask.nii.gz")
    dataset = open_dataset(tmp_path)
    assert [case.mask.path.name for case in dataset.cases] == ["a_mask.nii.gz", "b_mask.nii.gz"]
    assert dataset.problems == ()


def test_suffixes_are_channels_where_all_cases_have_them(tmp_path):
    for case in ("a", "b"):
        save_mask(tmp_path / "masks" / f"{case}.nii.gz")
        for number in range(2):
            save_nifti(tmp_path / "images" / f"{case}_{number:04d}.nii.gz")
    dataset = open_dataset(tmp_path)
    assert files_of(dataset.cases[0]) == [("a_0000.nii.gz", None), ("a_0001.nii.gz", None)]
    (tmp_path / "images" / "b_0001.nii.gz").unlink()
    dataset = open_dataset(tmp_path)
    assert names_of(dataset.cases) == ["a"]
    assert problems_of(dataset) == [("b", "missing_channel")]


def test_suffixes_are_names_where_the_masks_have_them_too(tmp_path):
    root = make_two_folders(tmp_path, cases=("scan_0000", "scan_0001", "scan_0002"))
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["scan_0000", "scan_0001", "scan_0002"]
    assert all(len(case.images) == 1 for case in dataset.cases)


def test_structures_in_a_folder_of_masks(tmp_path):
    for case in "ab":
        save_nifti(tmp_path / "images" / f"{case}.nii.gz")
        for n, organ in enumerate(("spleen", "liver")):
            mask = np.zeros((2, 3, 4))
            mask[n] = 1
            save_mask(tmp_path / "masks" / case / f"{organ}.nii.gz", mask)
    dataset = open_dataset(tmp_path)
    assert dataset.labels == LabelScheme.make({"liver": 1, "spleen": 2})
    read = read_segmentation(dataset.cases[0].mask, labels=dataset.labels).array
    np.testing.assert_array_equal(read[:, 0, 0], [2, 1])


def make_channel_folders(root):
    for channel in ("CT", "PET"):
        for case in ("a", "b"):
            save_nifti(root / channel / "images" / f"{case}.nii.gz")
            save_mask(root / channel / "masks" / f"{case}.nii.gz")
    return root


def test_folder_per_channel(tmp_path):
    root = make_channel_folders(tmp_path)
    dataset = open_dataset(root)
    assert dataset.layout == "a folder per channel"
    assert dataset.channels == ("CT", "PET")
    assert [source.path.parent.parent.name for source in dataset.cases[0].images] == ["CT", "PET"]
    assert dataset.cases[0].mask.path == root / "CT" / "masks" / "a.nii.gz"
    assert "masks from CT/masks; those of PET are not used" in dataset.notes
    first = open_dataset(root, channels=["PET", "CT"])
    assert first.channels == ("PET", "CT")
    assert first.cases[0].mask.path == root / "PET" / "masks" / "a.nii.gz"
    (root / "PET" / "images" / "b.nii.gz").unlink()
    assert problems_of(open_dataset(root)) == [("b", "missing_channel")]


def test_folder_per_channel_beside_masks(tmp_path):
    for folder in ("flair", "t1"):
        save_nifti(tmp_path / folder / "a.nii.gz")
    save_mask(tmp_path / "masks" / "a.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.channels == ("flair", "t1")
    assert dataset.cases[0].mask.path == tmp_path / "masks" / "a.nii.gz"


def make_case_folders(root, cases=("p01", "p02", "p03"), prefix=""):
    for case in cases:
        start = prefix.format(case=case)
        for stem in ("t1", "t2"):
            save_nifti(root / case / f"{start}{stem}.nii.gz")
        save_mask(root / case / f"{start}seg.nii.gz")
    return root


@pytest.mark.parametrize("prefix", ["", "{case}_"])
def test_folder_per_case(tmp_path, prefix):
    dataset = open_dataset(make_case_folders(tmp_path, prefix=prefix))
    assert dataset.layout == "a folder per case"
    assert names_of(dataset.cases) == ["p01", "p02", "p03"]
    assert dataset.channels == ("t1", "t2")
    assert dataset.cases[0].mask.path.name.endswith("seg.nii.gz")
    assert dataset.problems == ()


def test_folder_per_case_faults_and_extras(tmp_path):
    root = make_case_folders(tmp_path, cases=("p01", "p02", "p03", "p04", "p05"))
    (root / "p01" / "t2.nii.gz").unlink()
    (root / "p02" / "seg.nii.gz").unlink()
    save_mask(root / "p03" / "label.nii.gz")
    save_nifti(root / "p04" / "flair.nii.gz")
    save_mask(root / "p04" / "brainmask.nii.gz")
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["p04", "p05"]
    assert problems_of(dataset) == [("p01", "missing_channel"), ("p02", "missing_mask"), ("p03", "ambiguous_mask")]
    assert dataset.notes == ("files left out: brainmask, flair",)


def test_folder_per_case_with_one_file_called_anything(tmp_path):
    for case, name in (("p1", "x"), ("p2", "p2")):
        save_nifti(tmp_path / case / f"{name}.nii.gz")
        save_mask(tmp_path / case / "segmentations" / "liver.nii.gz")
    dataset = open_dataset(tmp_path)
    assert names_of(dataset.cases) == ["p1", "p2"]
    assert dataset.channels == ()
    assert dataset.labels.names == ("liver",)
    assert dataset.cases[1].mask.structures[0][0] == "liver"


def make_bids(root):
    save_json(root / "dataset_description.json", Name="x")
    for subject, sessions in (("sub-01", ("ses-a", "ses-b")), ("sub-02", ())):
        for session in sessions or ("",):
            stem = f"{subject}_{session}" if session else subject
            folder = f"{subject}/{session}/anat" if session else f"{subject}/anat"
            save_nifti(root / folder / f"{stem}_T1w.nii.gz")
            save_nifti(root / folder / f"{stem}_ce-gad_T1w.nii.gz")
            save_mask(root / "derivatives" / "manual" / folder / f"{stem}_desc-brain_mask.nii.gz")
            save_mask(root / "derivatives" / "manual" / folder / f"{stem}_label-lesion_mask.nii.gz")
    return root


def test_bids(tmp_path):
    root = make_bids(tmp_path)
    save_text(
        root / "sub-01" / "sub-01_sessions.tsv",
        "session_id\tacq_time\nses-a\t2020-01-05T23:00:00\nses-b\t2020-02-05T01:00:00\n",
    )
    save_text(root / "derivatives" / "manual" / "dseg.tsv", "index\tname\n0\tBackground\n1\tLesion\n")
    dataset = open_dataset(root)
    assert dataset.layout == "BIDS"
    assert names_of(dataset.cases) == ["sub-01_ses-a", "sub-01_ses-b", "sub-02"]
    assert dataset.channels == ("T1w", "ce-gad_T1w")
    assert [(case.patient, case.day) for case in dataset.cases] == [("sub-01", 0), ("sub-01", 31), ("sub-02", None)]
    assert dataset.cases[2].mask.path.name == "sub-02_label-lesion_mask.nii.gz"
    assert dataset.labels == LabelScheme.make({"Lesion": 1})


def test_bids_faults(tmp_path):
    root = make_bids(tmp_path)
    (root / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz").unlink()
    save_mask(root / "derivatives/other/sub-02_label-edema_mask.nii.gz")
    dataset = open_dataset(root)
    assert names_of(dataset.cases) == ["sub-01_ses-b"]
    assert problems_of(dataset) == [("sub-01_ses-a", "missing_channel"), ("sub-02", "ambiguous_mask")]


def test_csv(tmp_path):
    for case in "abc":
        save_nifti(tmp_path / "data" / f"{case}.nii.gz")
        save_nifti(tmp_path / "data" / f"{case}_pet.nii.gz")
        save_mask(tmp_path / "data" / f"{case}_m.nii.gz")
    text = "case,patient,day,image,PET,mask,age\n"
    text += "".join(
        f"{c},P,{n},data/{c}.nii.gz,data/{c}_pet.nii.gz,data/{c}_m.nii.gz,55\n" for n, c in enumerate("abc")
    )
    file = save_text(tmp_path / "all.csv", text)
    dataset = open_dataset(file)
    assert dataset.layout == "CSV"
    assert dataset.name == "all"
    assert dataset.channels == ("image", "pet")
    assert [(case.name, case.patient, case.day) for case in dataset.cases] == [
        ("a", "P", 0),
        ("b", "P", 1),
        ("c", "P", 2),
    ]
    assert open_dataset(tmp_path).cases == dataset.cases
    assert open_dataset(file, channels=["CT", "PET"]).channels == ("CT", "PET")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_faults(tmp_path, separator):
    save_nifti(tmp_path / "a.nii.gz")
    save_mask(tmp_path / "m.nii.gz")
    rows = [
        "case,image,mask,day",
        "a,a.nii.gz,m.nii.gz,0",
        "b,gone.nii.gz,m.nii.gz,0",
        "c,a.nii.gz,gone.nii.gz,0",
        "d,a.nii.gz,m.nii.gz,1.5",
        "a,a.nii.gz,m.nii.gz,0",
        "e,,m.nii.gz,0",
        "../f,a.nii.gz,m.nii.gz,0",
        "",
    ]
    file = save_text(tmp_path / "x.csv", "\ufeff" + "\r\n".join(rows).replace(",", separator))
    dataset = open_dataset(file)
    assert names_of(dataset.cases) == ["a"]
    assert dataset.channels == ()
    assert problems_of(dataset) == [
        ("../f", "bad_name"),
        ("a", "duplicate_case"),
        ("b", "missing_image"),
        ("c", "missing_mask"),
        ("d", "bad_day"),
        ("e", "missing_channel"),
    ]


@pytest.mark.parametrize("text", ["", "case,mask\na,b.nii\n", "name,image\na,b.nii\n"])
def test_csv_without_its_columns(tmp_path, text):
    with pytest.raises(DatasetError, match="expected case and image"):
        open_dataset(save_text(tmp_path / "x.csv", text))


def test_damaged_tables(tmp_path):
    with pytest.raises(FormatError, match="line 2 has 3 cells for 2 columns"):
        open_dataset(save_text(tmp_path / "x.csv", "case,image\na,b,c\n"))
    (tmp_path / "x.csv").write_bytes(b"case,image\n\xff\xfe,x\n")
    with pytest.raises(FormatError, match="UTF-8"):
        open_dataset(tmp_path / "x.csv")


def save_picture(path, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (6, 5) if channels == 1 else (6, 5, channels)
    Image.fromarray(np.full(shape, 7, np.uint8)).save(path)


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
        assert (volume.array == 7).all()
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
    save_nifti(tmp_path / "p1" / "ct.nii.gz", np.zeros((6, 6, 6)), fine)
    save_nifti(tmp_path / "p1" / "pet.nii.gz", np.indices((4, 4, 4))[0] * 2.0, coarse, np.float32)
    save_mask(tmp_path / "p1" / "seg.nii.gz", np.ones((6, 6, 6)), fine)
    dataset = open_dataset(tmp_path)
    volume = read_volume(dataset.cases[0], dataset.channels)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[1][:, 0, 0], np.arange(6))
    assert "pet.nii.gz (4x4x4 at 2x2x2 mm) brought onto the grid of the first channel" in caplog.text
    far = coarse.copy()
    far[0, 3] = 1e4
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), far), tmp_path / "p1" / "pet.nii.gz")
    with pytest.raises(ValueError, match="do not overlap") as caught:
        read_volume(dataset.cases[0], dataset.channels)
    assert caught.value.case == "p1"
    assert caught.value.file.endswith("pet.nii.gz")
