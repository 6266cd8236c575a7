"""A comparison as plain text for the terminal."""

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
from medseg.reporting.terminal import align_columns


def format_comparison(content: Mapping[str, Any]) -> str:
    """The mean of every method by label and metric, with which is best and whether by chance.

    Args:
        content: what ``comparison.json`` holds.
    Returns:
        aligned text: for two methods with their difference, its 95 % interval, the corrected p-value and, where there
        is a margin, the verdict; for more, how often the best is first when patients are drawn again. Below it how many
        patients and cases were compared, and what was not.
    """
    names, lines = content["methods"], gather_lines(content)
    if not lines:
        return "\n".join(["Nothing to compare: no metric is in every folder.", *content["notes"]])
    heading = ["label", "metric", *names, "best"]
    heading += ["difference [95 %]", "p (Holm)"] if len(names) == 2 else ["first again", "least p (Holm)"]
    judged = bool(content["margins"])
    rows = [[*heading, "verdict"] if judged else heading]
    for line in lines:
        best = [name for name, mean in zip(names, line.means, strict=True) if mean.is_best]
        row = [line.label, name_metric(line), *(describe_mean(line, mean) for mean in line.means)]
        row.append("all" if len(best) == len(names) else ", ".join(best) or DASH)
        row += [describe_difference(line.pairs[0])] if len(names) == 2 else [_describe_first(line, best)]
        row.append(describe_chance(_find_least(line)))
        rows.append([*row, _describe_verdicts(line)] if judged else row)
    return "\n".join([align_columns(rows, words=2), *_describe_rest(content, lines)])


def _describe_first(line: Line, best: list[str]) -> str:
    """How often the methods in the first place are first again."""
    if line.ranks is None or not line.ranks["methods"] or not best:
        return DASH
    return describe_share(sum(line.ranks["methods"][name]["first_share"] for name in best))


def _find_least(line: Line) -> float | None:
    known = [pair["p_holm"] for pair in line.pairs if pair["p_holm"] is not None]
    return min(known) if known else None


def _describe_verdicts(line: Line) -> str:
    judged = [pair for pair in line.pairs if pair["verdict"]]
    if len(judged) == 1:
        return f"{judged[0]['verdict']} (margin {judged[0]['margin']:g})"
    return ", ".join(f"{pair['second']} to {pair['first']}: {pair['verdict']}" for pair in judged) or DASH


def _describe_rest(content: Mapping[str, Any], lines: list[Line]) -> list[str]:
    names = content["methods"]
    rest = [f"{content['patients']} patients, {content['cases']} cases that every method has scores of."]
    if len(names) == 2:
        rest[0] += f" Differences: {names[1]} minus {names[0]}."
    reasons = dict.fromkeys(pair["reason"] for line in lines for pair in line.pairs if pair["reason"])
    rest += [f"{DASH} {reason}" for reason in reasons]
    left_out = sum(pair["left_out"] for line in lines for pair in line.pairs)
    if left_out:
        rest.append("Some values are known in one method alone and left out; comparison.csv counts them (left_out).")
    if any(mean.infinite for line in lines for mean in line.means):
        rest.append("* without infinite distances, which the test and the ranks count as the worst")
    return [*rest, *content["notes"]]
