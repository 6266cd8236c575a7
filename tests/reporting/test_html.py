"""The report is one safe file with the very numbers of the tables."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from medseg.core.atomic import fault_hook
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome
from medseg.reporting import CaseFigures, ReportContent, write_report
from tests.reporting.examples import LABELS, Page, draw_example, make_content, make_score, measure


def render(folder: Path, content: ReportContent) -> str:
    path = folder / "report.html"
    write_report(path, content)
    return path.read_text("utf-8")


def test_it_needs_no_other_file(tmp_path: Path) -> None:
    text = render(tmp_path, make_content())
    assert re.findall(r"(?i)https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]*", "", text)) == []
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {(attributes["href"] or "")[1:] for tag, attributes in page.tags if tag == "a"}
    assert links <= places


def test_only_its_own_script_and_style_may_run(tmp_path: Path) -> None:
    text = render(tmp_path, make_content())
    policy = next(a["content"] or "" for tag, a in Page(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
    labels = LabelScheme.make({evil: 1})
    content = ReportContent(
        title=evil,
        dataset=evil,
        labels=labels,
        scores=[make_score(evil, evil, 0.5), make_score(evil, evil, None, "nsd", "failed")],
        measurements=[*measure(evil, evil, 3.0, day=0), *measure(f"{evil[:-2]}xx", evil, 4.0, day=9, border=True)],
        cases=[CaseFigures(evil, evil, 3, draw_example().slices, evil)],
        outcomes=[CaseOutcome(evil, "failed", evil, (evil,), evil, evil)],
        training=[{"epoch": 1, "loss": 0.5, "dice": {evil: 0.1}}],
        notes=(evil,),
        warnings=(evil,),
        provenance={evil: evil},
    )
    text = render(tmp_path, content)
    page = Page(text)
    assert text.count("<script>") == 1
    assert "{{ 7 * 7 }}" in text
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes or attributes.get("src") == "x"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", make_content())
    write_report(tmp_path / "b.html", make_content())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_numbers_equal_the_rows(tmp_path: Path) -> None:
    content = make_content()
    table = Page(render(tmp_path, content)).tables["Each case and label"]
    assert [text for text, _ in table[0]][:5] == ["Case", "Patient", "Day", "Label", "Volume ml"]
    shown = {(row[0][0], row[3][0]): row for row in table[1:]}
    volumes = {(m.case, m.label): m.value for m in content.measurements if m.quantity == "volume_ml" and not m.instance}
    assert {key: float(row[4][1]["data-value"] or "nan") for key, row in shown.items()} == volumes
    dice = {(s.case, s.label): s.value for s in content.scores if s.metric == "dice" and s.value is not None}
    for key, value in dice.items():
        assert float(shown[key][8][1]["data-value"] or "nan") == value
    first = [text for text, _ in shown["p1-1", "liver"]]
    assert first == ["p1-1", "p1", "0", "liver", "1500.25", "1", "31.2 × 20.0", "no", "0.951"]


def test_missing_values_are_dashes_that_say_why(tmp_path: Path) -> None:
    table = Page(render(tmp_path, make_content())).tables["Each case and label"]
    row = next(row for row in table[1:] if (row[0][0], row[3][0]) == ("p2-1", "tumour"))
    axial, dice = row[6], row[8]
    assert axial[0] == dice[0] == "–"
    assert "data-value" not in dice[1]
    assert axial[1]["title"] == "not defined for this mask (empty, for example)"
    assert dice[1]["title"] == "neither the prediction nor the reference holds this label"


def test_scores_show_their_spread_and_statuses(tmp_path: Path) -> None:
    rows = Page(render(tmp_path, make_content())).tables["Scores by label and metric"][1:]
    liver, tumour, distance = ([text for text, _ in row] for row in rows)
    assert liver[:3] == ["liver", "Dice", "3"]
    assert liver[3] == "0.950"  # two patients: no interval
    assert liver[4:6] == ["0.951", "0.941 to 0.961"]
    assert tumour[1:4] == ["Dice", "2", "0.355"]
    assert tumour[6] == "1 prediction empty, 1 both empty" or tumour[6] == "1 both empty, 1 prediction empty"
    assert distance[:3] == ["HD95 (mm)", "2", "2.25 + 1 × ∞"]  # the label's cell spans the rows of its metrics


def test_five_patients_have_an_interval(tmp_path: Path) -> None:
    scores = [make_score(f"p{n}-1", "liver", 0.9 + n / 100) for n in range(5)]
    rows = Page(render(tmp_path, make_content(scores=scores))).tables["Scores by label and metric"][1:]
    assert rows[0][3][0].startswith("0.920 [0.9")


def test_a_given_summary_is_shown(tmp_path: Path) -> None:
    entry = {"definition": "d", "unit": "", "n": 2, "mean": 0.5, "median": 0.25, "q25": None, "q75": None}
    entry |= {"finite_n": 2, "finite_mean": 0.5, "low": 0.125, "high": 0.75, "statuses": {"ok": 2}}
    text = render(tmp_path, make_content(summary={"labels": {"liver": {"dice": entry}}}))
    rows = Page(text).tables["Scores by label and metric"][1:]
    assert [cell for cell, _ in rows[0]] == ["liver", "Dice", "2", "0.500 [0.125, 0.750]", "0.250", "–", "all ok"]


def test_changes_over_time(tmp_path: Path) -> None:
    page = Page(render(tmp_path, make_content()))
    rows = [[text for text, _ in row] for row in page.tables["Patient p1"][1:]]
    assert rows == [
        ["liver", "0", "p1-1", "1500.25", "–", "–"],
        ["30", "p1-2", "1400.00", "−100.25", "−6.7"],
        ["tumour", "0", "p1-1", "8.00", "–", "–"],
        ["30", "p1-2", "0.00", "−8.00", "−100.0"],
    ]
    assert "Patient p2" not in page.tables  # one day only


def test_lesions_have_a_row_each(tmp_path: Path) -> None:
    rows = Page(render(tmp_path, make_content())).tables["Each component of each label, largest first"][1:]
    assert [row[4][0] for row in rows] == ["liver-1", "tumour-1", "liver-1", "liver-1"]


def test_warnings_name_the_cases(tmp_path: Path) -> None:
    text = render(tmp_path, make_content())
    section = text.partition('id="warnings"')[2].partition("</section>")[0]
    for words in ("tumour: missed", "liver: touches the border", "p1-2", "One fold only.", "Give its own scan"):
        assert words in section
    assert "never predicted" not in section
    never = make_content(measurements=[*measure("a-1", "tumour", 0.0), *measure("b-1", "tumour", 0.0)])
    assert "tumour: never predicted in 2 cases" in render(tmp_path, never)


@pytest.mark.parametrize("missing", ["scores", "measurements", "cases", "outcomes", "training", "all"])
def test_any_part_may_be_missing(tmp_path: Path, missing: str) -> None:
    parts = ("scores", "measurements", "cases", "outcomes", "training", "notes", "warnings")
    content = make_content(**dict.fromkeys(parts if missing == "all" else (missing,), ()))
    page = Page(render(tmp_path, content))
    if missing == "all":
        assert not [tag for tag, _ in page.tags if tag in ("svg", "img")]
        assert LABELS.names[0] in render(tmp_path, content)


def test_a_failed_write_leaves_the_old_report(tmp_path: Path) -> None:
    before = render(tmp_path, make_content())

    def fail(step: str, path: Path) -> None:
        if step == "rename":
            raise OSError("disk full")

    with fault_hook(fail), pytest.raises(OSError, match="disk full"):
        write_report(tmp_path / "report.html", make_content(title="Another"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text("utf-8") == before
