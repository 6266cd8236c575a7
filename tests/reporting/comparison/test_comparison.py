"""A comparison's table, LaTeX and figure hold the numbers of its JSON, whatever the names."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from medseg.core.atomic import fault_hook
from medseg.core.results import Score
from medseg.evaluation import compare_scores
from medseg.reporting.comparison import draw_comparison, format_comparison, format_latex, report_comparison
from medseg.reporting.comparison.latex import escape_latex
from medseg.reporting.comparison.lines import gather_lines

RNG = np.random.default_rng(0)
EVIL = r"_\evil{}$x^2$ & 100 % #1 ~<b>" + "\n\t\x1b[31m"


def make_scores(shift: float, *, labels: tuple[str, ...] = ("liver",), missed: int = 0) -> list[Score]:
    rows = []
    for label in labels:
        for n, value in enumerate(np.random.default_rng(1).uniform(0.6, 0.8, 10)):
            who = (f"c{n}", f"p{n}", None, None, label, 0)
            rows.append(Score(*who, "dice", "voxel", float(value) + shift + 0.001 * n, "", "ok"))
            distance = math.inf if n < missed else 10 * (1 - float(value)) - shift
            rows.append(Score(*who, "hd95", "surfel", distance, "mm", "ok"))
    return rows


def compare(*shifts: float, names: tuple[str, ...] = ("old", "new", "third"), **options: Any) -> dict[str, Any]:
    scores = {name: make_scores(shift, **options) for name, shift in zip(names, shifts, strict=False)}
    return compare_scores(scores, margins={"dice": 0.02})


def test_two_methods_in_the_terminal() -> None:
    content = compare(0.0, 0.05)
    rows = [line.split() for line in format_comparison(content).splitlines()]
    assert rows[0][:5] == ["label", "metric", "old", "new", "best"]
    pair = content["comparisons"][0]
    (dice,) = [row for row in rows if row[:2] == ["liver", "Dice"]]
    assert dice[2:5] == [f"{pair['mean_first']:.3f}", f"{pair['mean_second']:.3f}", "new"]
    assert dice[5:8] == ["+0.050", "[+0.050,", "+0.050]"]
    assert dice[8:] == ["0.002", "non-inferior", "(margin", "0.02)"]
    assert "10 patients, 10 cases" in format_comparison(content)


def test_more_methods_in_the_terminal() -> None:
    text = format_comparison(compare(0.0, 0.05, 0.02))
    (dice,) = [line.split() for line in text.splitlines() if line.split()[:2] == ["liver", "Dice"]]
    assert dice[5:8] == ["new", "100", "%"]
    assert "new to old: non-inferior, third to old: non-inferior, third to new: not shown" in " ".join(dice)


def test_infinite_and_unknown_values_are_told() -> None:
    scores = {"old": make_scores(0.0, missed=2), "new": make_scores(0.1, missed=7)}
    text = format_comparison(compare_scores(scores))
    (row,) = [line for line in text.splitlines() if line.split()[:2] == ["liver", "HD95"]]
    assert row.count("*") == 2
    assert "* without infinite distances" in text
    few = compare_scores({name: rows[:4] for name, rows in scores.items()})
    assert "– 2 patients, at least 6 are needed" in format_comparison(few)
    nothing = compare_scores({"old": make_scores(0.0), "new": make_scores(0.0, labels=("lung",))})
    assert format_comparison(nothing).startswith("Nothing to compare")
    assert "'lung': only in new" in format_comparison(nothing)


def test_latex_escapes_every_name() -> None:
    for character in "\\{}$&%#_^~<>[]*":
        assert escape_latex(character) != character
    assert escape_latex("\x1b\n") == "  "
    text = format_latex(compare(0.0, 0.05, names=(EVIL, "[new]"), labels=(EVIL, "*x")))
    body = text.partition("\\begin{tabular}")[2]
    rows = [line for line in body.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 5
    unescaped = re.sub(r"\\[&%$#_{}]", "", text)
    assert {line.count("&") for line in re.sub(r"\\[&]", "", body).splitlines() if line.endswith("\\\\")} == {5}
    assert "#" not in unescaped
    assert unescaped.replace("% needs \\usepackage{booktabs}", "").count("%") == 0
    assert unescaped.count("$") % 2 == 0
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    assert not [row for row in rows if row.lstrip().startswith(("[", "*"))]


def test_latex_marks_the_best() -> None:
    (dice,) = [line for line in format_latex(compare(0.0, 0.05)).splitlines() if "Dice" in line]
    assert dice.split(" & ")[1] == r"Dice $\uparrow$"
    assert "\\textbf" not in dice.split(" & ")[2]
    assert dice.split(" & ")[3].startswith("\\textbf{0.7")
    (same,) = [line for line in format_latex(compare(0.0, 0.0)).splitlines() if "Dice" in line]
    assert "\\textbf" not in same
    (third,) = [line for line in format_latex(compare(0.0, 0.05, 0.02)).splitlines() if "Dice" in line]
    assert third.endswith(r"100 \% \\")


@pytest.mark.parametrize("shifts", [(0.0, 0.05), (0.0, 0.05, 0.02)])
def test_the_figure_is_a_picture_and_always_the_same(tmp_path: Path, shifts: tuple[float, ...]) -> None:
    content = compare(*shifts, names=(EVIL, "肝臓", "_c"), labels=("liver", EVIL), missed=2)
    draw_comparison(tmp_path / "a.png", content)
    draw_comparison(tmp_path / "b.png", content)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = image.imread(tmp_path / "a.png")
    assert pixels.shape[1] > 1000
    assert pixels[..., :3].std() > 0.05


def test_nothing_to_draw_and_too_few_patients(tmp_path: Path) -> None:
    nothing = compare_scores({"a": make_scores(0.0), "b": make_scores(0.0, labels=("lung",))})
    draw_comparison(tmp_path / "nothing.png", nothing)
    few = compare_scores({name: make_scores(shift)[:6] for name, shift in (("a", 0.0), ("b", 0.1))})
    draw_comparison(tmp_path / "few.png", few)
    assert {path.name for path in tmp_path.iterdir()} == {"nothing.png", "few.png"}


def test_many_metrics_are_cut_to_those_that_are_read_most() -> None:
    rows = [
        Score(f"c{n}", f"p{n}", None, None, "liver", 0, metric, "x", n / 10 + len(metric) / 100, "", "ok")
        for n in range(6)
        for metric in ("dice", "iou", "nsd", *(f"own{number}" for number in range(12)))
    ]
    content = compare_scores({"a": rows, "b": rows})
    assert [line.metric for line in gather_lines(content)] == ["dice", "iou", "nsd"]
    assert len(gather_lines(content, all_metrics=True)) == 15


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(step: str, path: Path) -> None:
        if step == "rename":
            raise OSError(28, "No space left on device", str(path))

    with fault_hook(fail), pytest.raises(OSError, match="No space"):
        report_comparison(tmp_path, compare(0.0, 0.05))
    assert list(tmp_path.iterdir()) == []
