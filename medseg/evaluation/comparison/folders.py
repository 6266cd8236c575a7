"""Comparing folders of scores, and the tables that come of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from medseg.core import atomic
from medseg.core.manifest import CaseOutcome
from medseg.core.records import write_json
from medseg.core.results import format_csv
from medseg.evaluation.comparison.comparing import compare_scores
from medseg.evaluation.comparison.reading import ScoredMethod, read_methods
from medseg.evaluation.comparison.verdicts import ComparedPair

logger = logging.getLogger(__name__)


def compare_folders(
    folders: Sequence[str | Path], output: str | Path, *, margins: Mapping[str, float] | None = None
) -> tuple[list[CaseOutcome], dict[str, Any]]:
    """Compare the scores in several folders and write ``comparison.csv`` and ``comparison.json``.

    Args:
        folders: of scores, one a method (``read_methods``); the established method's first.
        output: the folder for the tables.
        margins: as for ``compare_scores``.
    Returns:
        an outcome per case, refused where only some methods have scores of it, for a method that is silent on hard
        cases would look the better for it; and what ``compare_scores`` gives, with ``folders``: where each method's
        scores come from (hashes, version, model, settings).
    Raises:
        DatasetError: as ``read_methods`` and ``compare_scores``.
        FormatError: a table is damaged.
        PlanError: a margin that means nothing.
    """
    from medseg import __version__

    methods = read_methods(folders)
    found = compare_scores({method.name: method.scores for method in methods}, margins=margins)
    notes = [*found["notes"], *(note for method in methods for note in method.notes), *_find_other_references(methods)]
    provenance = [dict(method.provenance) for method in methods]
    content = {"version": __version__, "folders": provenance, **found, "notes": notes}
    names = [field.name for field in fields(ComparedPair)]
    rows = ([_cell(pair[name]) for name in names] for pair in content["comparisons"])
    atomic.write_text(Path(output) / "comparison.csv", format_csv(names, rows))
    write_json(Path(output) / "comparison.json", content)
    return _tell_cases(methods), content


def _tell_cases(methods: Sequence[ScoredMethod]) -> list[CaseOutcome]:
    cases = {method.name: {row.case for row in method.scores} for method in methods}
    outcomes = []
    for case in sorted(set.union(*cases.values())):
        missing = [method for method in methods if case not in cases[method.name]]
        if not missing:
            outcomes.append(CaseOutcome(case, "done"))
            continue
        there = ", ".join(name for name, held in cases.items() if case in held)
        reason = f"it has scores in {there}, none in {', '.join(method.name for method in missing)}; not compared"
        remedy = "Predict and evaluate it there too"
        outcomes.append(CaseOutcome(case, "refused", "no_scores", (str(missing[0].folder),), reason, remedy))
        logger.error("%s", outcomes[-1].line())
    return outcomes


def _find_other_references(methods: Sequence[ScoredMethod]) -> list[str]:
    """A line where methods were scored against references of one case that are not the same file."""
    first, *others = methods
    lines = []
    for other in others:
        shared = sorted(first.references.keys() & other.references.keys())
        differing = [case for case in shared if first.references[case] != other.references[case]]
        if differing:
            listed = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
            lines.append(
                f"{first.name} and {other.name} were scored against different reference files of {listed}: "
                "make sure that they hold the same masks"
            )
    return lines


def _cell(value: Any) -> Any:
    # An infinite bound is a number in the CSV; its sign would be taken for a formula's in a text.
    return float(value) if value in ("inf", "-inf") else value
