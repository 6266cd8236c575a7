"""Plain folders, folders per case or channel, BIDS and CSV; faults of single cases become problems."""

import numpy as np
import pytest

from medseg.core.errors import DatasetError, FormatError
from medseg.core.labels import LabelScheme
from medseg.io import open_dataset, read_segmentation
from tests.io.trees import (
    files_of,
    make_two_folders,
    names_of,
    problems_of,
    save_json,
    save_mask,
    save_nifti,
    save_text,
)


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
        "g,a.nii.gz,m.nii.gz,0",
        "b,gone.nii.gz,m.nii.gz,0",
        "c,a.nii.gz,gone.nii.gz,0",
        "d,a.nii.gz,m.nii.gz,1.5",
        "g,a.nii.gz,m.nii.gz,0",
        "h,a.nii.gz,m.nii.gz,0",
        "h,a.nii.gz,a.nii.gz,0",
        "e,,m.nii.gz,0",
        "../f,a.nii.gz,m.nii.gz,0",
        "",
    ]
    file = save_text(tmp_path / "x.csv", "\ufeff" + "\r\n".join(rows).replace(",", separator))
    dataset = open_dataset(file)
    assert names_of(dataset.cases) == ["a", "g"]  # a row that is there twice is one row
    assert dataset.channels == ()
    assert problems_of(dataset) == [
        ("../f", "bad_name"),
        ("b", "missing_image"),
        ("c", "missing_mask"),
        ("d", "bad_day"),
        ("e", "missing_channel"),
        ("h", "duplicate_case"),
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
