"""Error bars in the table of measurements: where they come from, and why there are none."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, hash_file, label_entries, write_run
from medseg.core.results import Measurement, read_rows
from medseg.core.volume import Segmentation
from medseg.io import write_segmentation
from medseg.measurement import measure_case
from medseg.measurement.folders import measure_folder
from medseg.measurement.intervals import EMPTY, bound_volume
from medseg.measurement.longitudinal import measure_timeline
from medseg.reporting.folders import report_folder
from tests.core.examples import make_errors
from tests.phantoms import ball, centre_of, lesions, oblique_geometry, segmentation_of

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})
ERRORS = make_errors(LABELS)
GEOMETRY = oblique_geometry((40, 36, 24), (1, 1.1, 2))
MODEL = "ab" * 32
MEMBERS = {"organ": [10.0, 11.0, 12.5], "tumour": [0.2, 0.2, 0.2]}


def draw_mask(radius_mm: float) -> Segmentation:
    """An organ with two lesions."""
    organ = ball(GEOMETRY, centre_of(GEOMETRY), radius_mm)
    spots = [(centre_of(GEOMETRY), 3.5), (centre_of(GEOMETRY) + np.array((0, 9, 0)), 2.5)]
    return segmentation_of(GEOMETRY, organ, lesions(GEOMETRY, spots))


def write_masks(folder, cases, *, command="predict", **details):
    """Masks as ``predict`` leaves them, with the record of its run."""
    outcomes = []
    for case, radius_mm in cases.items():
        path = folder / f"{case}.nii.gz"
        write_segmentation(path, draw_mask(radius_mm))
        outcomes.append(CaseOutcome(case, "done", outputs={path.name: hash_file(path)}))
    content = {
        "model": MODEL,
        "volume_errors": {"reason": "", "table": json.loads(ERRORS.to_json())},
        "member_volumes_ml": {"a": MEMBERS},
        **label_entries(LABELS),
        **details,
    }
    write_run(folder, command, outcomes, started="now", **content)


@pytest.fixture
def masks(tmp_path):
    write_masks(tmp_path / "masks", {"a": 14, "b": 12})
    return tmp_path / "masks"


def measure(masks, **options):
    _, rows = measure_folder(masks, masks.parent / "out", **options)
    assert read_rows(masks.parent / "out" / "measurements.csv", Measurement) == rows
    return rows, json.loads((masks.parent / "out" / "measurements.json").read_text())["volume_intervals"]


def volumes(rows, case="a", instance=0):
    return {
        row.label: row
        for row in rows
        if (row.case, row.instance, row.quantity) == (case, instance, "volume_ml")
    }  # fmt: skip


def test_bounds_are_those_of_the_volume_s_stratum():
    assert bound_volume(ERRORS, "organ", (1,), 20.0)[:2] == pytest.approx((18, 22))
    assert bound_volume(ERRORS, "organ", (1,), 0.5)[:2] == pytest.approx((0.35, 0.65))
    assert bound_volume(ERRORS, "organ", (1,), 1.0)[:2] == pytest.approx((0.9, 1.1))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ((None, "organ", (1,), 2.0), "not known"),
        ((ERRORS, "liver", (1,), 2.0), "no errors of a label liver"),
        ((ERRORS, "organ", (2,), 2.0), "with these values"),
        ((ERRORS, "organ", (1,), 0.0), EMPTY),
        ((ERRORS, "organ", (1,), None), EMPTY),
    ],
)
def test_what_is_not_known_has_a_reason(question, reason):
    found = bound_volume(*question)
    assert found[:2] == (None, None)
    assert reason in found.reason


def test_a_volume_beyond_those_learnt_from_is_named():
    found = bound_volume(ERRORS, "organ", (1,), 2000.0)
    assert found.high == pytest.approx(2200)
    assert found.note == "2e+03 ml lies beyond the 0.01 to 1e+03 ml that its error bar was learnt from"
    assert bound_volume(ERRORS, "organ", (1,), 1000.0).note == ""


def test_whole_labels_have_bars_and_lesions_have_none(masks):
    rows, told = measure(masks)
    for case in ("a", "b"):
        organ, tumour = (volumes(rows, case)[name] for name in ("organ", "tumour"))
        assert (organ.low, organ.high) == pytest.approx((0.9 * organ.value, 1.1 * organ.value))
        assert (tumour.low, tumour.high) == pytest.approx((0.7 * tumour.value, 1.3 * tumour.value))  # below 1 ml
        assert volumes(rows, case, instance=2)["tumour"].low is None
    assert all(row.low is None for row in rows if row.quantity != "volume_ml")
    assert list(told["errors"]) == [MODEL]
    assert told["errors"][MODEL] == json.loads(ERRORS.to_json())
    assert (told["unknown"], told["notes"]) == ({}, [])
    assert "whole labels" in told["lesions"]


def test_the_spread_of_the_networks_is_a_quantity_of_its_own(masks):
    rows, _ = measure(masks)
    spread = {row.label: row for row in rows if row.quantity == "member_sd_ml"}
    assert {row.case for row in spread.values()} == {"a"}
    assert spread["organ"].value == pytest.approx(statistics.stdev(MEMBERS["organ"]))
    assert spread["tumour"].value == 0
    assert (spread["organ"].low, spread["organ"].high, spread["organ"].unit) == (None, None, "ml")
    assert "3 networks" in spread["organ"].definition


def test_a_mask_that_somebody_changed_has_no_bar(masks):
    write_segmentation(masks / "a.nii.gz", draw_mask(13))
    rows, told = measure(masks)
    assert volumes(rows, "a")["organ"].low is None
    assert volumes(rows, "b")["organ"].low is not None
    assert told["unknown"] == {"a": "the mask was changed since it was predicted"}
    assert not [row for row in rows if row.quantity == "member_sd_ml"]


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"volume_errors": {"reason": "folds 0 were used", "table": None}}, "folds 0 were used"),
        ({"volume_errors": None}, "older medseg"),
        ({"volume_errors": {"table": {"level": 0.95}}}, "damaged"),
        ({"volume_errors": {"table": [1, 2]}}, "damaged"),
        ({"volume_errors": "yes"}, "older medseg"),
        ({"member_volumes_ml": [1]}, None),
        ({"member_volumes_ml": {"a": {"organ": ["x", None]}}}, None),
    ],
)
def test_what_run_json_says_decides(tmp_path, details, reason):
    write_masks(tmp_path / "masks", {"a": 14}, **details)
    rows, told = measure(tmp_path / "masks")
    if reason is None:
        assert volumes(rows)["organ"].low is not None
        return
    assert volumes(rows)["organ"].low is None
    assert reason in told["unknown"]["a"]


def test_a_changed_number_in_run_json_is_seen(masks):
    content = json.loads((masks / "run.json").read_text())
    content["volume_errors"]["table"]["labels"][0]["strata"][1]["low"] = 0.99
    (masks / "run.json").write_text(json.dumps(content))
    rows, told = measure(masks)
    assert volumes(rows)["organ"].low is None
    assert "do not match their hash" in told["unknown"]["a"]


def test_masks_of_somebody_else_have_no_bars_and_no_words_about_them(tmp_path):
    write_masks(tmp_path / "masks", {"a": 14})
    (tmp_path / "masks" / "run.json").unlink()
    rows, told = measure(tmp_path / "masks", labels=LABELS)
    assert volumes(rows)["organ"].low is None
    assert told == {}


def test_other_labels_than_the_model_s_have_no_bars(masks):
    rows, told = measure(masks, labels=LabelScheme.make({"tumour": 1, "organ": 2}))
    assert all(row.low is None for row in rows)
    assert "with these values" in told["unknown"]["a organ"]
    assert not [row for row in rows if row.quantity == "member_sd_ml"]


def test_in_python_the_model_is_asked():
    rows = measure_case(draw_mask(14), LABELS, case="a", volume_errors=ERRORS, member_volumes_ml=MEMBERS)
    assert volumes(rows)["organ"].low == pytest.approx(0.9 * volumes(rows)["organ"].value)
    assert [row.label for row in rows if row.quantity == "member_sd_ml"] == ["organ", "tumour"]
    plain = measure_case(draw_mask(14), LABELS, case="a")
    assert all(row.low is None for row in plain)
    assert [row.quantity for row in plain] == [row.quantity for row in rows if row.quantity != "member_sd_ml"]


def test_a_timeline_tells_changes_beyond_the_error(tmp_path):
    write_masks(tmp_path / "masks", {"a0": 12, "a1": 12.1, "a2": 15})
    (tmp_path / "timeline.csv").write_text("case,patient,day\na0,a,0\na1,a,30\na2,a,60\n")
    measure_timeline(tmp_path / "timeline.csv", tmp_path / "out", masks=tmp_path / "masks")
    changes = json.loads((tmp_path / "out" / "longitudinal.json").read_text())["changes"]
    beyond = {
        (row["day_from"], row["day_to"]): row["beyond_error"]
        for row in changes
        if (row["lesion_id"], row["label"], row["quantity"]) == ("", "organ", "volume_ml")
    }
    assert beyond == {(0, 30): "no", (0, 60): "yes", (30, 60): "yes"}
    told = json.loads((tmp_path / "out" / "measurements.json").read_text())["volume_intervals"]
    assert list(told["errors"]) == [MODEL]


def test_the_report_shows_them(tmp_path):
    large = make_errors(LABELS, labels=tuple(
        own.model_copy(update={"largest_ml": 1.5}) for own in ERRORS.labels
    ))  # fmt: skip
    write_masks(tmp_path, {"a": 14}, volume_errors={"reason": "", "table": json.loads(large.to_json())})
    _, rows = measure_folder(tmp_path, tmp_path)
    value = volumes(rows)["organ"].value
    _, page = report_folder(tmp_path)
    text = page.read_text("utf-8")
    assert f"{value:.1f} ({0.9 * value:.1f} to {1.1 * value:.1f})" in text
    assert "In brackets after a volume" in text
    assert "a organ: " in text
    assert "lies beyond" in text


def test_tables_are_the_same_when_made_twice(masks):
    measure(masks)
    first = (masks.parent / "out" / "measurements.json").read_bytes()
    measure(masks)
    assert (masks.parent / "out" / "measurements.json").read_bytes() == first
    assert np.isfinite([row.value for row in read_rows(masks.parent / "out" / "measurements.csv", Measurement)
                        if row.value is not None]).all()  # fmt: skip
