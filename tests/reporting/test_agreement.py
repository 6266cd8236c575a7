"""Bland-Altman charts and the table of agreement hold the numbers of the summary, each in its place."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.results import Score
from medseg.evaluation import summarise_scores
from medseg.reporting import write_report
from medseg.reporting.agreement import AgreementChart, chart_agreement, tabulate_agreement
from tests.reporting.examples import LABELS, Page, make_content, make_score

NAMES = LABELS.names
LIVER = [(1500.0 + 20 * n + 10 * (-1) ** n, 1500.0 + 20 * n) for n in range(10)]
# Differences grow with the volume: 10 % of it, up or down.
TUMOUR = [(2.0**n * (1.1 if n % 2 else 0.9), 2.0**n) for n in range(10)]


def make_volumes(label: str, pairs: list[tuple[float, float]]) -> list[Score]:
    return [
        make_score(f"p{n}-1", label, value, f"{side}_volume_ml", unit="ml")
        for n, pair in enumerate(pairs)
        for side, value in zip(("predicted", "reference"), pair, strict=True)
    ]


def chart(*labels: tuple[str, list[tuple[float, float]]]) -> list[AgreementChart]:
    scores = [row for label, pairs in labels for row in make_volumes(label, pairs)]
    return chart_agreement(scores, summarise_scores(scores), NAMES, {"p3-1": "case-4"})


def test_differences_over_the_mean() -> None:
    (liver,) = chart(("liver", LIVER))
    assert liver.title == "liver: prediction − reference (ml)"
    assert len(liver.points) == 10
    assert liver.points[3].text == "p3-1: predicted 1550.00 ml, reference 1560.00 ml, difference −10.00 ml"
    assert [point.link for point in liver.points] == ["", "", "", "case-4", "", "", "", "", "", ""]
    lower, bias, upper = liver.lines
    assert bias.text == "0.00 ml"
    assert lower.y > bias.y > upper.y  # pixels count from the top
    heights = sorted({point.y for point in liver.points})
    assert len(heights) == 2
    assert upper.y < heights[0] < bias.y < heights[1] < lower.y
    for line in liver.lines:
        assert line.band[0] < line.y < line.band[1]
        assert line.band[0] >= 0
        assert line.band[1] <= liver.bottom
    places = [point.x for point in liver.points]
    assert liver.left < min(places) < max(places) < liver.width - liver.right
    assert {text for _, text in liver.y_ticks} >= {"0"}


def test_ratios_where_differences_grow() -> None:
    liver, tumour = chart(("tumour", TUMOUR), ("liver", LIVER))
    assert (liver.label, tumour.label) == ("liver", "tumour")
    assert tumour.title == "tumour: prediction / reference"
    assert tumour.points[1].text.endswith("ratio 1.10")
    assert tumour.lines[1].text == f"{np.sqrt(1.1 * 0.9):.2f}"
    one = next(y for y, text in tumour.y_ticks if text == "1")
    assert {"1", "10", "100"} < {text for _, text in tumour.x_ticks}  # each lesion is twice the one before
    places = [point.x for point in tumour.points]
    assert np.ptp(np.diff(places)) < 12
    assert tumour.points[0].y > one > tumour.points[1].y


def test_the_table() -> None:
    scores = [*make_volumes("tumour", TUMOUR), *make_volumes("liver", LIVER), *make_volumes("liver", LIVER[:0])]
    summary = summarise_scores(scores)
    table = tabulate_agreement(summary, NAMES)
    assert [row[0].text for row in table.rows] == ["liver", "tumour"]
    liver, found = table.rows[0], summary["agreement"]["labels"]["liver"]
    assert liver[1].text == "10"
    assert liver[2].value == found["bias"]["value"]
    assert liver[2].text.startswith("0.00 [−7.")
    assert liver[3].value == found["lower"]["value"]
    assert liver[5].text == f"{found['icc_2_1']['value']:.3f}"
    assert liver[5].hint == f"95 % interval {found['icc_2_1']['low']:.3f} to {found['icc_2_1']['high']:.3f}"
    assert tabulate_agreement({"labels": {}}, NAMES).rows == ()


def test_too_few_cases_are_a_dash_with_the_reason() -> None:
    scores = make_volumes("liver", LIVER[:3])
    assert chart_agreement(scores, summarise_scores(scores), NAMES, {}) == []
    (row,) = tabulate_agreement(summarise_scores(scores), NAMES).rows
    assert {cell.text for cell in row[2:]} == {"–"}
    assert {cell.hint for cell in row[2:]} == {"3 patients, at least 4 are needed"}


@pytest.mark.parametrize("pairs", [[(5.0, 5.0)] * 6, [(0.0, 2.0)] * 6, [(0.0, 0.0)] * 6])
def test_values_that_are_all_alike_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    (drawn,) = chart(("liver", pairs))
    assert all(np.isfinite([point.x, point.y]).all() for point in drawn.points)


def test_the_page_shows_both(tmp_path: Path) -> None:
    scores = [*make_volumes("liver", LIVER), *make_volumes("tumour", TUMOUR)]
    write_report(tmp_path / "report.html", make_content(scores=scores, summary=summarise_scores(scores)))
    text = (tmp_path / "report.html").read_text("utf-8")
    rows = Page(text).tables["Predicted against reference volumes"]
    assert len(rows) == 3
    assert text.count('class="limit') == 6
    assert text.count("p3-1: predicted 1550.00 ml") == 1
    write_report(tmp_path / "none.html", make_content())
    assert "Agreement of volumes" not in (tmp_path / "none.html").read_text("utf-8")


def test_a_summary_of_other_scores_is_no_chart() -> None:
    assert chart_agreement([], summarise_scores(make_volumes("liver", LIVER)), NAMES, {}) == []
