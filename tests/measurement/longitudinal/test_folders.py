"""medseg measure --timeline: files, columns, targets, faults by name, and the exit code."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation
from medseg.io import write_segmentation
from tests.end_to_end.command_line import medseg
from tests.phantoms import lesions

GEOMETRY = Geometry.from_spacing((50, 40, 24), (1, 1, 1.5))
LARGE, SMALL = (14, 20, 18), (34, 20, 18)
DAYS = {"a0": "0", "a1": "60", "a2": "150"}


def write_masks(folder, scans, values=None):
    """One label map a scan: label 1 balls, label 2 balls."""
    for name, parts in scans.items():
        array = np.zeros(GEOMETRY.shape, np.uint8)
        for value, spots in enumerate(parts, start=1):
            array[lesions(GEOMETRY, spots)] = value
        write_segmentation(folder / f"{name}.nii.gz", Segmentation(array, GEOMETRY))


@pytest.fixture
def study(tmp_path):
    masks = tmp_path / "masks"
    write_masks(
        masks,
        {
            "a0": ([(LARGE, 9), (SMALL, 6)],),
            "a1": ([(LARGE, 6), (SMALL, 6)],),
            "a2": ([(LARGE, 9), (SMALL, 7)],),
            "b0": ([(LARGE, 3)],),
        },
    )
    rows = ["case,patient,day", "a0,a,0", "a1,a,60", "a2,a,150", "b0,b,0"]
    (tmp_path / "timeline.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def read(folder):
    with (folder / "longitudinal.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return rows, json.loads((folder / "longitudinal.json").read_text())


def run(study, *words):
    return medseg(
        "measure", "--timeline", study / "timeline.csv", "--labels", "tumour=1", "--output", study / "out", *words
    )


def test_tables(study):
    ended = run(study, study / "masks")
    assert ended.code == 0
    header = (study / "out" / "longitudinal.csv").read_text().partition("\n")[0]
    columns = (
        "patient,lesion_id,label,day_from,day_to,change,quantity,from,to,difference,percent,beyond_error,unit,status"
    )
    assert header == columns
    rows, content = read(study / "out")
    assert {row["patient"] for row in rows} == {"a"}
    named = ["case_from", "case_to", "against"]
    assert [list(entry) for entry in content["changes"]] == [columns.split(",") + named] * len(rows)
    for row, entry in zip(rows, content["changes"], strict=True):
        values = list(entry.values())[: len(row)]
        assert [("" if value is None else str(value)) for value in values] == list(row.values())
        assert (row["day_from"], row["day_to"]) == tuple(DAYS[entry[key]] for key in named[:2])
    words = {
        (row["day_from"], row["day_to"]): row["change"]
        for row in rows
        if (row["lesion_id"], row["quantity"]) == ("tumour-1", "volume_ml")
    }
    assert words == {("0", "60"): "shrunk", ("0", "150"): "stable", ("60", "150"): "grown"}
    assert {row["beyond_error"] for row in rows} == {"unknown"}
    assert set(content["inputs"]) == {"a0", "a1", "a2", "b0"}
    assert "day 150" in ended.output
    assert not (study / "out" / "transforms").exists()
    first = (study / "out" / "longitudinal.json").read_bytes()
    run(study, study / "masks")
    assert (study / "out" / "longitudinal.json").read_bytes() == first


def test_faults_are_named_and_the_others_scored(study):
    (study / "timeline.csv").write_text("case,patient,day\na0,a,0\na1,a,\na2,a,150\nb0,b,x\nc0,c,0\nb0,b,30\n")
    ended = run(study, study / "masks")
    assert ended.code == 3
    assert "the day is missing" in ended.about("a1")
    assert "'x'" in ended.about("b0")
    assert "no mask" in ended.about("c0")
    rows, _ = read(study / "out")
    assert {(row["day_from"], row["day_to"]) for row in rows} == {("0", "150")}
    cases = {case["case"]: case["code"] for case in json.loads((study / "out" / "run.json").read_text())["cases"]}
    assert {"a1": "missing_day", "c0": "missing_mask"}.items() <= cases.items()


def test_damaged_mask_leaves_the_other_scans(study):
    (study / "masks" / "a1.nii.gz").write_bytes(b"no image")
    ended = run(study, study / "masks")
    assert ended.code == 3
    assert ended.about("a1")
    assert {(row["day_from"], row["day_to"]) for row in read(study / "out")[0]} == {("0", "150")}


def test_targets_of_the_user(study):
    (study / "targets.csv").write_text("patient,lesion_id\na,tumour-2\n")
    assert run(study, study / "masks", "--targets", study / "targets.csv").code == 0
    recist = read(study / "out")[1]["recist_arithmetic"]
    assert list(recist) == ["a"]
    assert [target["lesion_id"] for target in recist["a"]["targets"]] == ["tumour-2"]
    assert [scan["category"] for scan in recist["a"]["scans"]] == ["baseline", "SD", "SD"]
    (study / "targets.csv").write_text("patient,lesion_id\na,tumour-9\nz,tumour-1\n")
    ended = run(study, study / "masks", "--targets", study / "targets.csv")
    assert ended.code == 3
    assert "tumour-9" in ended.about("a0")
    assert "no such patient" in ended.about("z")


def test_largest_lesions_are_the_targets_unless_told(study):
    run(study, study / "masks")
    recist = read(study / "out")[1]["recist_arithmetic"]
    assert [scan["category"] for scan in recist["a"]["scans"]] == ["baseline", "SD", "PD"]
    assert recist["b"]["scans"] == []
    assert "large enough" in recist["b"]["reason"]


def test_organs_are_no_targets(tmp_path):
    write_masks(tmp_path, {"a0": ([(LARGE, 9)], [(SMALL, 6)]), "a1": ([(LARGE, 9)], [(SMALL, 6)])})
    (tmp_path / "timeline.csv").write_text("case,patient,day,mask\na0,a,0,a0.nii.gz\na1,a,9,a1.nii.gz\n")
    for names, targets in (("liver=1,tumour=2", ["tumour-1"]), ("liver=1,spleen=2", [])):
        ended = medseg(
            "measure", "--timeline", tmp_path / "timeline.csv", "--labels", names, "--output", tmp_path / "o"
        )
        assert ended.code == 0
        recist = read(tmp_path / "o")[1]["recist_arithmetic"]["a"]
        assert [target["lesion_id"] for target in recist["targets"]] == targets
        assert ("reason" in recist) == (not targets)


def test_nothing_to_measure_is_wrong_usage(study):
    assert medseg("measure", "--output", study / "out").code == 2
    assert medseg("measure", study / "masks", "--targets", study / "x.csv", "--output", study / "out").code == 2
    (study / "timeline.csv").write_text("case,patient,day\nzz,a,0\n")
    assert run(study, study / "masks").code == 2
