"""What a reader must look at before trusting the numbers, found in the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medseg.core.results import Score
from medseg.reporting.cohort import MeasuredRow, rank_label
from medseg.reporting.content import ReportContent


@dataclass(frozen=True)
class Finding:
    """A warning: what was found, what it means, and the cases it is about."""

    title: str
    meaning: str
    cases: tuple[str, ...] = ()


def find_warnings(content: ReportContent, rows: Sequence[MeasuredRow]) -> list[Finding]:
    """The warnings that the tables hold, the gravest first.

    Args:
        content: what the report shows.
        rows: its measurements by case and label.
    Returns:
        labels that are never predicted, missed and invented labels, masks at the scan's border, failed values; then the
        content's own warnings. Empty where there is nothing to say.
    """
    names = content.labels.names
    findings = [*_find_never_predicted(rows, content.scores, names)]
    findings += _group_scores(
        content.scores, "prediction_empty", names, "missed", "The reference holds the label, the prediction does not."
    )
    findings += _group_scores(
        content.scores,
        "reference_empty",
        names,
        "predicted where the reference has none",
        "Look whether the reference or the prediction is wrong.",
    )
    findings += _find_border(rows, names)
    findings += _group_scores(content.scores, "failed", names, "not scored: the calculation failed", "See the log.")
    return findings + [Finding(text, "") for text in content.warnings]


def _find_never_predicted(
    rows: Iterable[MeasuredRow], scores: Iterable[Score], names: Sequence[str]
) -> Iterable[Finding]:
    volumes: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        volume = row.value("volume_ml")
        if row.instance == 0 and volume is not None:
            volumes[row.label].append(volume)
    missed = {score.label for score in scores if score.status == "prediction_empty"}
    for label in sorted(volumes, key=lambda name: rank_label(name, names)):
        count = len(volumes[label])
        if not any(volumes[label]) and (count > 1 or label in missed):
            meaning = "The model may not have learnt this label, or no scan holds it; look at the training curve."
            yield Finding(f"{label}: never predicted in {count} case{'s' if count > 1 else ''}", meaning)


def _group_scores(scores: Iterable[Score], status: str, names: Sequence[str], what: str, meaning: str) -> list[Finding]:
    cases: dict[str, dict[str, None]] = defaultdict(dict)
    for score in scores:
        if score.status == status and score.instance == 0:
            cases[score.label][score.case] = None
    ordered = sorted(cases, key=lambda name: rank_label(name, names))
    return [Finding(f"{label}: {what}", meaning, tuple(sorted(cases[label]))) for label in ordered]


def _find_border(rows: Iterable[MeasuredRow], names: Sequence[str]) -> list[Finding]:
    cases: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.instance == 0 and row.value("touches_border"):
            cases[row.label].append(row.case)
    meaning = "The structure may go on outside the scan: volumes and diameters are lower bounds."
    return [
        Finding(f"{label}: touches the border of the scan", meaning, tuple(sorted(cases[label])))
        for label in sorted(cases, key=lambda name: rank_label(name, names))
    ]
