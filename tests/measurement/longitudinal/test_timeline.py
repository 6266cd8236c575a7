"""Reading a timeline: whose scans, in which order, and what is wrong with a row."""

from __future__ import annotations

import pytest

from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError, FormatError
from medseg.measurement.longitudinal import read_timeline


def write(folder, rows, header="case,patient,day,mask,image"):
    for row in rows:
        for cell in row.split(",")[3:]:
            if cell and not cell.startswith("absent"):
                (folder / cell).touch()
    path = folder / "timeline.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def codes(timeline):
    return {problem.case: problem.code for problem in timeline.problems}


def test_scans_by_patient_in_order(tmp_path):
    path = write(tmp_path, ["a0,a,0,a0.nii.gz,a0i.nii.gz", "b0,b,5,b0.nii.gz,", "a1,a,90,a1.nii.gz,"])
    timeline = read_timeline(path)
    assert {patient: [(scan.case, scan.day) for scan in scans] for patient, scans in timeline.patients.items()} == {
        "a": [("a0", 0), ("a1", 90)],
        "b": [("b0", 5)],
    }
    first = timeline.patients["a"][0]
    assert (first.mask.path, first.image.images[0].path) == (tmp_path / "a0.nii.gz", tmp_path / "a0i.nii.gz")
    assert timeline.patients["a"][1].image is None
    assert (timeline.problems, timeline.notes) == ((), ())


@pytest.mark.parametrize(
    ("days", "blamed"),
    [
        (["0", "180", "90"], {2: "day_order"}),
        (["0", "180", "90", "120"], {1: "day_order"}),
        (["90", "0"], {1: "day_order"}),
        (["0", "-5", "60"], {1: "day_order"}),
        (["0", "30", "30", "60"], {2: "same_day"}),
        (["0", "", "60"], {1: "missing_day"}),
        (["0", "soon", "60"], {1: "bad_day"}),
        (["0", "3.5", "60"], {1: "bad_day"}),
        (["-30", "0", "30"], {}),
    ],
)
def test_days_that_cannot_be_are_named_and_the_others_stay(tmp_path, days, blamed):
    timeline = read_timeline(write(tmp_path, [f"c{n},p,{day},c{n}.nii.gz," for n, day in enumerate(days)]))
    assert codes(timeline) == {f"c{n}": code for n, code in blamed.items()}
    assert [scan.case for scan in timeline.scans] == [f"c{n}" for n in range(len(days)) if n not in blamed]
    assert all(problem.remedy and problem.file for problem in timeline.problems)


def test_patient_without_any_day_is_taken_in_the_order_of_its_rows(tmp_path):
    timeline = read_timeline(write(tmp_path, ["z,p,,z.nii.gz,", "a,p,,a.nii.gz,", "q,q,,q.nii.gz,"]))
    assert [scan.case for scan in timeline.patients["p"]] == ["z", "a"]
    assert not timeline.problems
    assert len(timeline.notes) == 1
    assert "doubling" in timeline.notes[0]


def test_faulty_rows(tmp_path):
    rows = [
        *("a,p,0,a.nii.gz,", "a,p,1,a.nii.gz,", "../b,p,2,a.nii.gz,", "c,,3,a.nii.gz,", "d,p,4,,"),
        *("e,p,5,absent.nii.gz,", "f,p,6,a.nii.gz,absent.nii.gz"),
    ]
    timeline = read_timeline(write(tmp_path, rows))
    assert [problem.code for problem in timeline.problems] == [
        *("duplicate_case", "bad_name", "missing_patient", "missing_mask", "missing_mask", "missing_image")
    ]
    assert [scan.case for scan in timeline.scans] == ["a"]


def test_masks_from_a_folder(tmp_path):
    path = write(tmp_path, ["a,p,0", "b,p,1"], header="case,patient,day")
    timeline = read_timeline(path, masks={"a": MaskSource(tmp_path / "x.nii.gz")})
    assert [scan.mask.path.name for scan in timeline.scans] == ["x.nii.gz"]
    assert codes(timeline) == {"b": "missing_mask"}


def test_folder_of_structures_is_a_mask(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "tumour.nii.gz").touch()
    (tmp_path / "timeline.csv").write_text("case,patient,day,mask\na,p,0,a\n")
    (scan,) = read_timeline(tmp_path / "timeline.csv").scans
    assert [name for name, _ in scan.mask.structures] == ["tumour"]


def test_table_that_is_no_timeline(tmp_path):
    with pytest.raises(DatasetError, match="case,patient,day,mask,image"):
        read_timeline(write(tmp_path, ["a,0"], header="case,day"))
    with pytest.raises(DatasetError, match="no row"):
        read_timeline(write(tmp_path, []))
    with pytest.raises(FormatError, match="does not exist"):
        read_timeline(tmp_path / "absent.csv")
