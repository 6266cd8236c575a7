"""Faults in a timeline: each is named with its case, file and remedy, the others are followed, the exit code is 3."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.io import write_segmentation, write_volume
from tests.end_to_end.command_line import medseg
from tests.phantoms import lesions

GEOMETRY = Geometry.from_spacing((50, 40, 24), (1, 1, 1.5))
ELSEWHERE = Geometry.from_spacing((20, 30, 10), (2, 2, 4))
LARGE, SMALL = (14, 20, 18), (34, 20, 18)


def write_mask(path, spots, geometry=GEOMETRY):
    write_segmentation(path, Segmentation(lesions(geometry, spots).astype(np.uint8), geometry))


def draw_image(geometry):
    values = np.random.default_rng(0).uniform(1, 9, geometry.shape)
    return Volume(values[None].astype(np.float32), geometry, ("MR",))


@pytest.fixture
def study(tmp_path):
    """Two patients with names as clinics give them; three and two scans."""
    for name, spots in (
        *(("a0", [(LARGE, 9), (SMALL, 5)]), ("a1", [(LARGE, 7), (SMALL, 5)]), ("a2", [(LARGE, 8), (SMALL, 5)])),
        *(("b0", [(LARGE, 6)]), ("b1", [(LARGE, 8)])),
    ):
        write_mask(tmp_path / f"{name}.nii.gz", spots)
        write_volume(tmp_path / f"{name}_image.nii.gz", draw_image(GEOMETRY))
    return tmp_path


ROWS = {
    "a0": ["a0", "Doe, Jane", "0", "a0.nii.gz", "a0_image.nii.gz"],
    "a1": ["a1", "Doe, Jane", "30", "a1.nii.gz", "a1_image.nii.gz"],
    "a2": ["a2", "Doe, Jane", "60", "a2.nii.gz", "a2_image.nii.gz"],
    "b0": ["b0", "=2+3 é", "0", "b0.nii.gz", ""],
    "b1": ["b1", "=2+3 é", "45", "b1.nii.gz", ""],
}
MASK, IMAGE, DAY = 3, 4, 2


def write_table(folder, **changed):
    rows = [list(changed.get(case, row)) for case, row in ROWS.items()]
    with (folder / "timeline.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["case", "patient", "day", "mask", "image"], *rows])


def with_cell(case, column, value):
    return {case: [*ROWS[case][:column], value, *ROWS[case][column + 1 :]]}


def run(study, *words):
    ended = medseg(
        "measure", "--timeline", study / "timeline.csv", "--labels", "tumour=1", "--output", study / "o", *words
    )
    if not (study / "o" / "longitudinal.csv").is_file():
        return ended, [], {}
    with (study / "o" / "longitudinal.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return ended, rows, json.loads((study / "o" / "longitudinal.json").read_text("utf-8"))


def pairs(rows, patient):
    return {(row["day_from"], row["day_to"]) for row in rows if row["patient"] == patient}


def test_names_as_clinics_give_them(study):
    write_table(study)
    ended, rows, content = run(study)
    assert ended.code == 0
    # A spreadsheet would run what begins with an equals sign; the JSON has it as it is.
    assert {row["patient"] for row in rows} == {"Doe, Jane", "'=2+3 é"}
    assert [patient["patient"] for patient in content["patients"]] == ["Doe, Jane", "=2+3 é"]
    assert pairs(rows, "Doe, Jane") == {("0", "30"), ("0", "60"), ("30", "60")}
    assert [patient["warnings"] for patient in content["patients"]] == [[], []]


# What is wrong with the scan a1 or b1, a word of the line that names it, and its code.
FAULTS = {
    "mask is not there": (with_cell("a1", MASK, "none.nii.gz"), "is not there", "missing_mask"),
    "no mask": (with_cell("a1", MASK, ""), "no mask is named", "missing_mask"),
    "image is not there": (with_cell("a1", IMAGE, "none.nii.gz"), "is not there", "missing_image"),
    "day is missing": (with_cell("a1", DAY, ""), "the day is missing", "missing_day"),
    "day is a word": (with_cell("a1", DAY, "soon"), "'soon'", "bad_day"),
    "day is a date": (with_cell("a1", DAY, "2024-03-01"), "'2024-03-01'", "bad_day"),
    "day is no number": (with_cell("a1", DAY, "nan"), "'nan'", "bad_day"),
    "day of another scan": (with_cell("a1", DAY, "0"), "that of a0 too", "same_day"),
    "day out of order": (with_cell("a1", DAY, "-5"), "out of order", "day_order"),
    "mask of another scan": (with_cell("a1", MASK, "a0.nii.gz"), "is that of a0 too", "same_mask"),
    "no patient": (with_cell("a1", 1, ""), "names no patient", "missing_patient"),
    "no number of a mask": (with_cell("a1", MASK, "broken.nii.gz"), "broken.nii.gz", ""),
    "image is damaged": (with_cell("a1", IMAGE, "broken.nii.gz"), "broken.nii.gz", ""),
    "image of another grid": (with_cell("a1", IMAGE, "elsewhere.nii.gz"), "grid", "other_grid"),
    "value beyond the labels": (with_cell("a1", MASK, "values.nii.gz"), "values.nii.gz", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_one_scan(study, fault):
    (study / "broken.nii.gz").write_bytes(b"no image")
    write_volume(study / "elsewhere.nii.gz", draw_image(ELSEWHERE))
    array = np.zeros(GEOMETRY.shape, np.uint8)
    array[5:9, 5:9, 5:9] = 7
    write_segmentation(study / "values.nii.gz", Segmentation(array, GEOMETRY))
    changed, word, code = FAULTS[fault]
    write_table(study, **changed)
    ended, rows, content = run(study)
    assert ended.code == 3
    line = ended.about("a1")
    assert word in line
    assert "Traceback" not in "".join(ended.lines)
    # The patient's other scans and the other patient are followed as ever.
    assert pairs(rows, "Doe, Jane") == {("0", "60")}
    assert pairs(rows, "'=2+3 é") == {("0", "45")}
    (outcome,) = [
        case for case in json.loads((study / "o" / "run.json").read_text())["cases"] if case["status"] != "done"
    ]
    assert outcome["case"] == "a1"
    assert outcome["remedy"]
    assert not code or outcome["code"] == code
    if fault != "no patient":
        (left,) = content["patients"][0]["left_out"]
        assert left["case"] == "a1"
        assert any(warning.startswith("a1 is left out") for warning in content["patients"][0]["warnings"])
        assert "a1 is left out" in ended.output


def test_first_scan_that_cannot_be_used_is_no_silent_change_of_baseline(study):
    (study / "a0.nii.gz").write_bytes(b"no image")
    write_table(study)
    ended, rows, content = run(study)
    assert ended.code == 3
    assert pairs(rows, "Doe, Jane") == {("30", "60")}
    assert any("all changes are against a1, no real baseline" in line for line in content["patients"][0]["warnings"])


def test_mask_of_another_patients_grid_is_named_by_its_effect(study):
    # A mask without an image may lie anywhere: nothing of it lies where a lesion was before.
    write_mask(study / "a1.nii.gz", [((30, 10, 8), 4)], ELSEWHERE)
    write_mask(study / "a0.nii.gz", [(LARGE, 9)])
    write_table(study, **{case: [*ROWS[case][:IMAGE], ""] for case in ("a0", "a1", "a2")})
    ended, _, content = run(study)
    assert ended.code == 0
    assert any(warning.startswith("a1: ") for warning in content["patients"][0]["warnings"])


def test_lesions_empty_at_one_time(study):
    write_mask(study / "a1.nii.gz", [])
    write_mask(study / "b0.nii.gz", [])
    write_table(study)
    ended, rows, content = run(study)
    assert ended.code == 0
    words = {
        (row["day_from"], row["day_to"]): row["change"]
        for row in rows
        if (row["patient"], row["lesion_id"], row["quantity"]) == ("Doe, Jane", "tumour-1", "volume_ml")
    }
    assert words == {("0", "30"): "gone", ("0", "60"): "shrunk", ("30", "60"): "new"}
    (row,) = [
        row for row in rows if row["patient"] != "Doe, Jane" and row["lesion_id"] and row["quantity"] == "volume_ml"
    ]
    assert (row["change"], row["from"], row["percent"], row["status"]) == ("new", "0", "", "ok")
    assert content["recist_arithmetic"]["Doe, Jane"]["scans"][1]["category"] == "CR"
    assert content["recist_arithmetic"]["=2+3 é"]["reason"] == "there is no lesion in the first scan"


def test_no_days_at_all(study):
    write_table(study, **{case: [*ROWS[case][:DAY], "", *ROWS[case][MASK:]] for case in ("b0", "b1")})
    ended, rows, content = run(study)
    assert ended.code == 0
    assert any("no scan has a day" in line for line in ended.lines)
    undated = [row for row in rows if row["patient"] != "Doe, Jane"]
    assert {(row["day_from"], row["day_to"]) for row in undated} == {("", "")}
    assert {row["status"] for row in undated if row["quantity"] == "doubling_time_days"} == {"no_day"}
    assert {row["to"] for row in undated if row["quantity"] == "doubling_time_days"} == {""}
    named = [entry for entry in content["changes"] if entry["patient"] == "=2+3 é"]
    assert {(entry["case_from"], entry["case_to"]) for entry in named} == {("b0", "b1")}


def test_columns_that_are_not_read_are_named(study):
    rows = [["Case", "Patient", "day", "mask", "images"], *([*row[:4], ""] for row in ROWS.values())]
    (study / "timeline.csv").write_text("\n".join(";".join(row) for row in rows) + "\n", "utf-8-sig")
    ended, _, content = run(study)
    assert ended.code == 0
    assert any("not read: images" in line for line in ended.lines)
    assert len(content["patients"]) == 2


def test_every_scan_faulty_or_no_table_is_wrong_usage(study):
    write_table(study, **{case: [*row[:MASK], "none.nii.gz", ""] for case, row in ROWS.items()})
    ended, rows, _ = run(study)
    assert (ended.code, rows) == (2, [])
    (study / "timeline.csv").unlink()
    assert run(study)[0].code == 2
    (study / "timeline.csv").write_bytes(b"\xff\xfe\x00")
    assert run(study)[0].code == 2


def test_targets_of_patients_that_are_not_there(study):
    write_table(study, **with_cell("b0", MASK, "none.nii.gz"), **with_cell("b1", MASK, "none.nii.gz"))
    rows = [["patient", "lesion_id"], ["=2+3 é", "tumour-1"], ["nobody", "tumour-1"], ["Doe, Jane", ""]]
    with (study / "targets.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    ended, _, content = run(study, "--targets", study / "targets.csv")
    assert ended.code == 3
    assert "no scan of the patient can be used" in ended.about("=2+3 é")
    assert "no such patient" in ended.about("nobody")
    assert content["recist_arithmetic"]["Doe, Jane"]["reason"] == "the table of targets names no lesion of this patient"


def test_transforms_of_an_earlier_run_go(study):
    write_table(study)
    (study / "o" / "transforms").mkdir(parents=True)
    (study / "o" / "transforms" / "a1.tfm").write_text("old")
    run(study)
    assert list((study / "o" / "transforms").iterdir()) == []


def test_channels_are_named_by_the_data_set(study):
    names = {"channel_names": {"0": "PET"}, "labels": {"background": 0, "tumour": 1}}
    (study / "dataset.json").write_text(json.dumps(names))
    write_table(study)
    assert medseg("measure", "--timeline", study / "timeline.csv", "--output", study / "o").code == 0
    with (study / "o" / "longitudinal.csv").open(newline="") as stream:
        followed = {row["quantity"] for row in csv.DictReader(stream)}
    assert {"suv_max", "suv_peak", "tlg"} <= followed
    inputs = json.loads((study / "o" / "measurements.json").read_text())["inputs"]
    assert set(inputs["a0"]) == {"mask", "images"}
    assert set(inputs["b0"]) == {"mask"}
