"""Which configuration and which folds become the model, decided by their validation scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from medseg.core.errors import ModelError
from medseg.core.records import Record
from medseg.core.results import Score


class Candidate(Record):
    """A configuration that was trained.

    Args:
        folds: those that are finished.
        cases: validation cases scored.
        mean_dice: over labels, then over cases; None where nothing was validated. Candidates that are chosen among
            are rated by the cases that all of them validated, where there are any.
    """

    configuration: str
    folds: tuple[int | str, ...]
    cases: int
    mean_dice: float | None


class Choice(Record):
    """``choice.json``: what was chosen and among what.

    Args:
        reason: why, in a sentence.
        postprocessing: the evidence for each label's rule, in words.
        volume_errors: the error bars of each label's volume, or why there are none, in words.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    reason: str
    postprocessing: dict[str, str]
    volume_errors: dict[str, str] = Field(default_factory=dict)


def rate_candidates(scores: Mapping[str, Mapping[int | str, Sequence[Score]]]) -> list[Candidate]:
    """The mean validation Dice of configurations that are chosen among.

    Args:
        scores: of each configuration, those of each finished fold.
    Returns:
        the candidates, rated by the cases that all validated, so that none wins by easier ones; by all of its own where
        there is no such case.
    """
    validated = [{row.case for fold in folds.values() for row in fold} for folds in scores.values()]
    shared = set.intersection(*(cases for cases in validated if cases)) if any(validated) else set()
    return [rate_candidate(name, folds, among=shared) for name, folds in scores.items()]


def rate_candidate(
    configuration: str, scores: Mapping[int | str, Sequence[Score]], *, among: Collection[str] = ()
) -> Candidate:
    """A configuration's mean validation Dice.

    Args:
        configuration: its name.
        scores: each finished fold's scores; empty for a fold without validation cases.
        among: the cases that count for the mean; all where there are none.
    Returns:
        the candidate. A case's labels that are empty in prediction and reference do not count.
    """
    every = [row for fold in scores.values() for row in fold if row.metric == "dice" and row.instance == 0]
    rows = [row for row in every if not among or row.case in among]
    by_label: dict[str, list[float]] = {}
    for row in rows:
        if row.value is not None:
            by_label.setdefault(row.label, []).append(row.value)
    means = [sum(values) / len(values) for values in by_label.values()]
    return Candidate(
        configuration=configuration,
        folds=tuple(scores),
        cases=len({row.case for row in every}),
        mean_dice=sum(means) / len(means) if means else None,
    )


def choose_candidate(candidates: Sequence[Candidate]) -> tuple[Candidate, str]:
    """The best configuration and why.

    Args:
        candidates: the configurations that were trained.
    Returns:
        the one with the highest mean Dice, the first of equals, and the reason in a sentence.
    Raises:
        ModelError: there is none.
    """
    if not candidates:
        raise ModelError("no fold is trained yet", code="not_trained", remedy="Run medseg train first")
    best = max(candidates, key=lambda candidate: candidate.mean_dice if candidate.mean_dice is not None else -1.0)
    if len(candidates) == 1:
        return best, f"{best.configuration} is the only configuration that was trained"
    listed = ", ".join(
        f"{c.configuration} {'unknown' if c.mean_dice is None else format(c.mean_dice, '.4f')}" for c in candidates
    )
    return best, f"{best.configuration} has the highest mean Dice on the validation cases ({listed})"
