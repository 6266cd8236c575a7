"""A comparison as a LaTeX table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medseg.reporting.comparison.lines import (
    Line,
    describe_chance,
    describe_difference,
    describe_mean,
    describe_share,
    gather_lines,
    name_metric,
)
from medseg.reporting.quantities import DASH

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "−": "$-$",
    # At the start of a row they would belong to the end of the row before.
    **{character: f"{{{character}}}" for character in "[]*"},
    "∞": r"$\infty$",
    "–": "--",
}
_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}


def format_latex(content: Mapping[str, Any]) -> str:
    """The table of a comparison for a paper, with rules of the package booktabs.

    Args:
        content: what ``comparison.json`` holds.
    Returns:
        a ``table`` environment: a row per label and metric, the best method's mean bold; for two methods their
        difference with its 95 % interval and corrected p-value, for more the share of resamplings in which the best is
        first. The caption says what was done. Names may hold any character.
    """
    names, lines = content["methods"], gather_lines(content)
    two = len(names) == 2
    more = ["Difference [95\\,\\%]", "$p$"] if two else ["First again"]
    heading = ["Label", "Metric", *(escape_latex(name) for name in names), *more]
    rows = [_format_row(line, two=two) for line in lines]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_describe(content)}}}",
            f"\\begin{{tabular}}{{ll{'r' * (len(heading) - 2)}}}",
            "\\toprule",
            " & ".join(heading) + " \\\\",
            "\\midrule",
            *(" & ".join(row) + " \\\\" for row in rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """A text as LaTeX prints it, whatever characters it holds; what cannot be printed becomes a space."""
    return "".join(_ESCAPED.get(character, character if character.isprintable() else " ") for character in text)


def _format_row(line: Line, *, two: bool) -> list[str]:
    means = [escape_latex(describe_mean(line, mean)) for mean in line.means]
    # Where all are best, none is.
    marked = not all(mean.is_best for mean in line.means)
    means = [
        f"\\textbf{{{text}}}" if mean.is_best and marked else text for text, mean in zip(means, line.means, strict=True)
    ]
    row = [escape_latex(line.label), escape_latex(name_metric(line)) + _ARROWS.get(line.better, ""), *means]
    if two:
        return [*row, escape_latex(describe_difference(line.pairs[0])), _format_chance(line.pairs[0]["p_holm"])]
    shares = line.ranks["methods"] if line.ranks and line.ranks["methods"] else {}
    best = [entry["first_share"] for entry in shares.values() if entry["place"] == 1]
    return [*row, escape_latex(describe_share(sum(best)) if best else DASH)]


def _format_chance(chance: float | None) -> str:
    text = describe_chance(chance)
    return "$<$0.001" if text == "<0.001" else escape_latex(text)


def _describe(content: Mapping[str, Any]) -> str:
    names = content["methods"]
    said = f"Means over {content['patients']} patients ({content['cases']} cases); the best rank is bold."
    if len(names) == 2:
        said += (
            f" Difference: {names[1]} minus {names[0]}, Hodges-Lehmann with 95 % interval (lesions: difference of the "
            "means, patients as clusters); p: Wilcoxon's signed-rank test (lesions: exchange of methods within "
            "patients), Holm-corrected over the labels of a metric."
        )
    else:
        said += " First again: in how many resamplings of the patients the best rank stays first."
    return escape_latex(f"{said} * without infinite distances.")
