"""The cohort table: a row per patient, scan and label, and what is counted over patients."""

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement
from medseg.core.volume import Segmentation
from medseg.measurement import measure_case
from medseg.measurement.cohort import CohortRow, summarise_cohort, tabulate_cohort, write_cohort_tables

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})


def measure(case: str, sizes: list[int], patient: str = "", day: int | None = None) -> list[Measurement]:
    """An organ of 6 x 6 x 6 voxels of 10 mm, and tumours of so many voxels along i."""
    array = np.zeros((12, 12, 12), np.uint8)
    array[1:7, 1:7, 1:7] = 1
    for number, size in enumerate(sizes):
        array[1 : 1 + size, 9, 1 + 2 * number] = 2
    segmentation = Segmentation(array, Geometry.from_spacing(array.shape, (10.0, 10.0, 10.0)))
    return measure_case(segmentation, LABELS, case=case, patient=patient, day=day)


def find(rows: list[CohortRow], case: str, label: str) -> CohortRow:
    (row,) = [row for row in rows if (row.case, row.label) == (case, label)]
    return row


def test_a_row_holds_the_measurements_of_its_label() -> None:
    measured = measure("a", [5, 2, 1])
    rows = tabulate_cohort(measured)
    assert [(row.patient, row.label) for row in rows] == [("a", "organ"), ("a", "tumour")]
    tumour = rows[1]
    assert (tumour.volume_ml, tumour.lesion_count, tumour.largest_lesion_ml) == pytest.approx((8.0, 3.0, 5.0))
    found = {(row.instance, row.quantity): row.value for row in measured if row.label == "tumour"}
    for name in ("diameter_axial_mm", "diameter_3d_mm", "touches_border"):
        assert getattr(tumour, name) == found[0, name]
    assert rows[0].volume_ml == pytest.approx(216.0)


def test_an_absent_label_is_0_ml_and_its_diameters_unknown() -> None:
    row = find(tabulate_cohort(measure("a", [])), "a", "tumour")
    assert (row.volume_ml, row.lesion_count) == (0.0, 0.0)
    assert row.largest_lesion_ml is row.diameter_axial_mm is row.diameter_3d_mm is None


def test_error_bars_of_volumes_come_along() -> None:
    row = Measurement("a", "p", 3, "organ", 0, "", "volume_ml", "x", 5.0, 4.0, 6.5, "ml", "ok")
    (found,) = tabulate_cohort([row])
    assert (found.day, found.volume_low_ml, found.volume_ml, found.volume_high_ml) == (3, 4.0, 5.0, 6.5)
    assert found.lesion_count is None


def test_scans_are_sorted_by_patient_and_day() -> None:
    rows = tabulate_cohort([*measure("c", [1], "p2", 30), *measure("z", [1], "p1"), *measure("d", [1], "p2", -5)])
    assert [(row.patient, row.case) for row in rows if row.label == "organ"] == [("p1", "z"), ("p2", "d"), ("p2", "c")]


def test_each_patient_counts_once_with_the_first_scan() -> None:
    rows = tabulate_cohort(
        [
            *measure("a2", [9], "p1", 90),
            *measure("a1", [4], "p1", 0),
            *measure("b", [2, 1], "p2"),
            *measure("c", [], "p3"),
        ]
    )
    found = summarise_cohort(rows)
    assert list(found) == ["organ", "tumour"]
    tumour = found["tumour"]
    assert (tumour["patients"], tumour["patients_with_it"]) == (3, 2)
    volumes = [4.0, 3.0, 0.0]
    expected = {"n": 3, "mean": statistics.mean(volumes), "sd": statistics.stdev(volumes), "median": 3.0}
    expected |= {"q25": 1.5, "q75": 3.5, "min": 0.0, "max": 4.0, "sum": 7.0}
    assert tumour["volume_ml"] == pytest.approx(expected)
    assert tumour["lesion_count"]["sum"] == 3.0
    assert tumour["diameter_3d_mm"]["n"] == 2
    only = summarise_cohort(tabulate_cohort(measure("c", [])))["tumour"]
    assert (only["volume_ml"]["sd"], only["diameter_3d_mm"]["mean"], only["diameter_3d_mm"]["n"]) == (None, None, 0)
    assert summarise_cohort([]) == {}


def test_both_tables_say_the_same(tmp_path: Path) -> None:
    measured = [*measure("=cmd()", [3], "p, 1", 2), *measure("b", [])]
    write_cohort_tables(tmp_path, measured, {"model": "abc"})
    content = json.loads((tmp_path / "cohort.json").read_text())
    assert (content["model"], content["labels"]) == ("abc", summarise_cohort(tabulate_cohort(measured)))
    with (tmp_path / "cohort.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(content["cohort"]) == 4
    for row, entry in zip(rows, content["cohort"], strict=True):
        assert list(row) == list(entry)
        for name, cell in row.items():
            assert cell == {None: ""}.get(entry[name], str(entry[name])) or cell == f"'{entry[name]}"
