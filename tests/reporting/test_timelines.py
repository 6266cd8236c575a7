"""The report draws timelines: sums, lesions with what became of them, the RECIST table, and what masks cannot know."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import FormatError
from medseg.core.results import Measurement, write_rows
from medseg.reporting.folders import report_folder
from medseg.reporting.timeline_charts import MOST_COLOURED, chart_diameters, chart_lesions, chart_totals
from medseg.reporting.timeline_tables import (
    tabulate_lesions_over_time,
    tabulate_response,
    tabulate_scans,
    tabulate_totals,
)
from medseg.reporting.timelines import PatientTimeline, read_timelines
from tests.reporting.examples import Page, measure

NAMES = ("tumour",)
DAYS = (0, 50, 100)
SAME = {"method": "same_grid", "reason": "", "warnings": []}
MOVED = {
    **{"method": "images", "reason": "", "warnings": ["turned by 50 degrees"], "kind": "affine", "turn_degrees": 50.0},
    **{"shift_mm": 4.25, "stretch": [0.98, 1.03], "shared_field_of_view": 0.9},
}


def make_sighting(volume: float, change: str = "", one_with: tuple[str, ...] = (), bar: float | None = None) -> Any:
    return {
        **{"instances": [1] if volume else [], "one_with": list(one_with), "volume_ml": volume, "change": change},
        **{"low_ml": None if bar is None else volume - bar, "high_ml": None if bar is None else volume + bar},
    }


def make_change(lesion: str, quantity: str, first: float | None, second: float | None, **more: Any) -> Any:
    known = first is not None and second is not None
    return {
        **{"patient": "p", "lesion_id": lesion, "label": "tumour", "change": "grown", "quantity": quantity},
        **{"from": first, "to": second, "difference": second - first if known else None},  # type: ignore[operator]
        **{"percent": 100 * (second / first - 1) if first and known else None, "unit": "ml"},  # type: ignore[operator]
        **{"beyond_error": "yes", "status": "ok", "case_from": "p-0", "case_to": "p-2", "against": ["baseline"]},
        **more,
    }


def make_content(days: tuple[int | None, ...] = DAYS) -> dict[str, Any]:
    """A patient with three scans: one lesion that grows and merges, one that merges and is gone, one that comes."""
    lesions = {
        "tumour-1": (
            make_sighting(2.0, bar=0.5),
            make_sighting(5.0, "merged", ("tumour-2",)),
            make_sighting(4.0, "split"),
        ),
        "tumour-2": (make_sighting(1.0), make_sighting(5.0, "merged", ("tumour-1",)), make_sighting(0, "gone")),
        "tumour-3": (make_sighting(0), make_sighting(0), make_sighting(1.5, "new")),
    }
    totals = [(3.0, 2.5, 3.5, 2), (5.0, None, None, 1), (5.5, None, None, 2)]
    recist = {
        "rules": "RECIST 1.1", "chosen_by": "--targets", "notes": ["tumour-1 is small"], "cannot_know": ["the future"],
        "targets": [{"lesion_id": "tumour-1", "measured": "longest axial diameter", "diameter_mm": 20.0}],
        "scans": [
            {
                "sum_of_diameters_mm": size, "percent_from_baseline": 5 * size - 100, "percent_from_nadir": None,
                "category": category, "rule": f"rule of {category}", "diameters_mm": {"tumour-1": size},
                "new_lesions": new, "category_if_new_lesions_are_real": "PD" if new else category,
            }
            for size, category, new in ((20.0, "baseline", []), (22.0, "SD", []), (21.0, "SD", ["tumour-3"]))
        ],
    }  # fmt: skip
    return {
        "settings": {"grown": "at least x 1.25"},
        "recist_arithmetic": {"p": recist},
        "changes": [
            make_change("", "volume_ml", 3.0, 5.5),
            make_change("tumour-1", "volume_ml", 2.0, 4.0),
            make_change("tumour-1", "doubling_time_days", None, 100.0),
            make_change("tumour-2", "volume_ml", None, None, status="merged", change="merged"),
        ],
        "patients": [
            {
                "patient": "p", "warnings": ["p-1 was turned <b>by 50 degrees</b>"],
                "scans": [
                    {"case": f"p-{n}", "day": day, "placement": MOVED if n == 1 else SAME} for n, day in enumerate(days)
                ],
                "labels": [
                    {
                        "label": "tumour",
                        "scans": [
                            dict(zip(("volume_ml", "low_ml", "high_ml", "lesion_count"), total, strict=True))
                            for total in totals
                        ],
                    }
                ],
                "lesions": [
                    {"lesion_id": name, "label": "tumour", "scans": list(scans)} for name, scans in lesions.items()
                ],
            }
        ],
    }  # fmt: skip


def read_example(folder: Path, content: dict[str, Any]) -> PatientTimeline:
    path = folder / "longitudinal.json"
    path.write_text(json.dumps(content), "utf-8")
    found = read_timelines(path)
    assert found is not None
    return found.patients[0]


def test_lesions_are_drawn_where_they_are(tmp_path: Path) -> None:
    chart = chart_lesions(read_example(tmp_path, make_content()), "tumour", {"p-2": "case-3"})
    assert chart is not None
    tracks = {track.name: track for track in chart.tracks}
    assert {name: [spot.mark for spot in track.spots] for name, track in tracks.items()} == {
        "tumour-1": ["", "merged", "split"],
        "tumour-2": ["", "merged", "gone"],
        "tumour-3": ["new"],
    }
    # The days lie evenly, the volumes by their ticks, the lesion that is gone at 0.
    first, second, third = tracks["tumour-1"].spots
    assert second.x - first.x == pytest.approx(third.x - second.x, abs=0.2)
    ticks = {text: y for y, text in chart.y_ticks}
    assert tracks["tumour-2"].spots[2].y == ticks["0"]
    assert third.y == ticks["4"]
    assert first.bar is not None
    assert first.bar[0] < first.y < first.bar[1]
    assert second.bar is None
    assert "one with tumour-2" in second.text
    assert (first.link, third.link) == ("", "case-3")
    assert tracks["tumour-3"].path == f"M{third.x} {tracks['tumour-3'].spots[0].y}"
    assert [mark for mark, _ in chart.marks] == ["new", "gone", "merged", "split"]
    assert chart.x_title == "day"
    assert [text for _, text in chart.x_ticks] == ["0", "50", "100"]


def test_a_lesion_that_comes_back_is_drawn_with_a_gap(tmp_path: Path) -> None:
    content = make_content((0, 50, 100, 200))
    seen = [make_sighting(2.0), make_sighting(0, "gone"), make_sighting(0), make_sighting(1.0, "new")]
    content["patients"][0]["lesions"] = [{"lesion_id": "tumour-1", "label": "tumour", "scans": seen}]
    chart = chart_lesions(read_example(tmp_path, content), "tumour", {})
    assert chart is not None
    assert chart.tracks[0].path.count("M") == 2
    assert [spot.mark for spot in chart.tracks[0].spots] == ["", "gone", "new"]


def test_scans_without_days_are_counted(tmp_path: Path) -> None:
    timeline = read_example(tmp_path, make_content((None, None, None)))
    chart = chart_totals(timeline, "tumour", NAMES, {})
    assert chart.x_title == "scan"
    assert [text for _, text in chart.x_ticks] == ["1", "2", "3"]
    assert tabulate_lesions_over_time(timeline, NAMES).columns[2].title == "p-0"


def test_small_ones_of_many_lesions_are_grey(tmp_path: Path) -> None:
    content = make_content()
    content["patients"][0]["lesions"] = [
        {"lesion_id": f"tumour-{n}", "label": "tumour", "scans": [make_sighting(1.0 / n)] * 3} for n in range(1, 41)
    ]
    chart = chart_lesions(read_example(tmp_path, content), "tumour", {})
    assert chart is not None
    assert chart.grey_count == 40 - MOST_COLOURED
    shown = [track for track in chart.tracks if track.colour >= 0]
    assert {track.name for track in shown} == {f"tumour-{n}" for n in range(1, MOST_COLOURED + 1)}
    assert len({(track.colour, track.dash) for track in shown}) == MOST_COLOURED


def texts(row: Any) -> list[str]:
    return [cell.text for cell in row]


def test_tables_hold_the_numbers(tmp_path: Path) -> None:
    timeline = read_example(tmp_path, make_content())
    totals = tabulate_totals(timeline, NAMES, {})
    assert texts(totals.rows[0])[1:5] == ["0", "p-0", "3.0 (2.5 to 3.5)", "2"]
    assert texts(totals.rows[2])[5:] == ["+2.50 (+83.3 %)", "–", "–"]
    assert "beyond the error" in totals.rows[2][5].hint
    lesions = {row[0].text: texts(row)[2:] for row in tabulate_lesions_over_time(timeline, NAMES).rows}
    assert lesions["tumour-1"][1:] == ["5.00 merged", "4.00 split", "+2.00 (+100.0 %)", "100"]
    assert lesions["tumour-2"][2:] == ["gone", "merged", "–"]
    assert lesions["tumour-3"] == ["–", "–", "1.50 new", "–", "–"]
    scans = tabulate_scans(timeline, {})
    assert "turned 50.0°, moved 4.2 mm, lengths × 0.980 to 1.030; 90% of" in scans.rows[1][2].text
    assert scans.rows[1][2].kind == "alert"


def test_response_has_the_rule_that_fired(tmp_path: Path) -> None:
    timeline = read_example(tmp_path, make_content())
    table = tabulate_response(timeline, {})
    assert table is not None
    assert texts(table.rows[2])[2:] == ["21.0", "+5.0", "–", "SD", "rule of SD", "tumour-3 (PD if these are real)"]
    assert chart_diameters(timeline, {}) is not None
    content = make_content()
    content["recist_arithmetic"] = {"p": {"reason": "none is large enough", "scans": [], "targets": []}}
    timeline = read_example(tmp_path, content)
    assert tabulate_response(timeline, {}) is None
    assert chart_diameters(timeline, {}) is None


def write_folder(folder: Path, content: dict[str, Any]) -> str:
    rows = [row for n, day in enumerate(DAYS) for row in measure(f"p-{n}", "tumour", 3.0, day=day)]
    write_rows(folder / "measurements.csv", rows, Measurement)
    (folder / "longitudinal.json").write_text(json.dumps(content), "utf-8")
    (folder / "run.json").write_text(json.dumps({"labels": {"background": 0, "tumour": 1}}), "utf-8")
    return report_folder(folder)[1].read_text("utf-8")


def test_the_page_shows_it_all(tmp_path: Path) -> None:
    text = write_folder(tmp_path, make_content())
    page = html.unescape(text)
    for words in (
        *("Patient p", "rule of SD", "What masks alone cannot know: the future.", "tumour-1 is small"),
        *("Targets (--targets): tumour-1", "at least x 1.25", "new or back", "tumour: one by one (ml)"),
    ):
        assert words in page
    assert "&lt;b&gt;by 50 degrees" in text
    assert page.count("Patient p<") == 1  # in place of the plain volumes over time
    for _, attributes in Page(text).tags:
        assert "style" not in attributes
    assert re.findall(r"(?i)https?:", text) == []


def test_a_patient_with_one_scan_has_no_charts(tmp_path: Path) -> None:
    content = make_content()
    patient = content["patients"][0]
    patient["scans"] = patient["scans"][:1]
    for part in (*patient["labels"], *patient["lesions"]):
        part["scans"] = part["scans"][:1]
    content["changes"], content["recist_arithmetic"] = [], {}
    assert "Patient p" in write_folder(tmp_path, content)


def test_a_damaged_timeline_is_named(tmp_path: Path) -> None:
    content = make_content()
    del content["patients"][0]["labels"]
    with pytest.raises(FormatError, match="timeline") as caught:
        write_folder(tmp_path, content)
    assert "longitudinal.json" in str(caught.value)
    assert "again" in (caught.value.remedy or "")
