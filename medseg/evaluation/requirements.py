"""Scores that have to be reached, as in ``tumour.lesion_recall[<1ml]>=0.8``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from medseg.core.errors import PlanError
from medseg.core.results import Score
from medseg.evaluation.strata import SOURCES, Stratum, parse_stratum, pick_lesions

SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Requirement:
    """A score that has to be reached.

    Args:
        text: as the user wrote it.
        label: whose score.
        metric: which score: its mean over the cases; by stratum its mean over the lesions of all cases.
        stratum: lesions of which volume; None where the score is not by stratum.
        sign: ``>=``, ``<=``, ``>`` or ``<``.
        limit: to compare with.
    """

    text: str
    label: str
    metric: str
    stratum: Stratum | None
    sign: str
    limit: float


@dataclass(frozen=True)
class Verdict:
    """What became of a requirement.

    Args:
        requirement: which one.
        value: the score found; None where no case or lesion has one.
        count: over how many cases, or lesions of a stratum.
    """

    requirement: Requirement
    value: float | None
    count: int

    @property
    def met(self) -> bool:
        """Whether the score was reached; a score that is not known was not."""
        return self.value is not None and bool(SIGNS[self.requirement.sign](self.value, self.requirement.limit))

    def line(self) -> str:
        """``tumour.dice>=0.8: missed, 0.71 over 12 cases``."""
        unit = "lesion" if self.requirement.stratum else "case"
        found = "no value" if self.value is None else f"{self.value:.4g}"
        return (
            f"{self.requirement.text}: {'met' if self.met else 'missed'}, "
            f"{found} over {self.count} {unit}{'' if self.count == 1 else 's'}"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: the text, whether it was met, the value and the count."""
        value = "inf" if self.value == math.inf else self.value
        return {"requirement": self.requirement.text, "met": self.met, "value": value, "count": self.count}


def parse_requirement(text: str) -> Requirement:
    """A requirement from the user's words.

    Args:
        text: ``LABEL.METRIC>=NUMBER``, or ``LABEL.METRIC[<1ml]>=NUMBER`` for lesions of a range of volumes; the signs
            are >=, <=, > and <.
    Returns:
        the requirement; whether label and metric exist is not looked at.
    Raises:
        PlanError: another form, or a metric that is not known by stratum.
    """
    found = re.fullmatch(
        r"(?P<label>.+)\.(?P<metric>\w+)(?:\[(?P<stratum>[^\]]*)\])? *(?P<sign>>=|<=|>|<) *(?P<limit>[-+0-9.eE]+)",
        text.strip(),
    )
    try:
        limit = float(found["limit"]) if found else math.nan
    except ValueError:
        limit = math.nan
    if found is None or not math.isfinite(limit):
        raise PlanError(
            f"{text!r} is no requirement", code="bad_requirement",
            remedy="Write LABEL.METRIC>=NUMBER, such as 'tumour.lesion_recall[<1ml]>=0.8'",
        )  # fmt: skip
    stratum = None if found["stratum"] is None else parse_stratum(found["stratum"])
    if stratum and found["metric"] not in SOURCES:
        raise PlanError(
            f"{found['metric']!r} is not scored by volume", code="bad_requirement",
            remedy=f"By volume there are {', '.join(SOURCES)}",
        )  # fmt: skip
    return Requirement(text.strip(), found["label"].strip(), found["metric"], stratum, found["sign"], limit)


def require_names(requirements: Sequence[Requirement], labels: Collection[str], metrics: Collection[str]) -> None:
    """Refuse requirements that no score can answer.

    Args:
        requirements: of the user.
        labels: the names that are scored.
        metrics: the metrics that are worked out, without those by stratum.
    Raises:
        PlanError: a label or metric that is not among them.
    """
    for requirement in requirements:
        if requirement.label not in labels:
            reason, known = f"no label {requirement.label!r} is scored", ", ".join(labels)
        elif requirement.stratum is None and requirement.metric not in metrics:
            reason, known = f"no metric {requirement.metric!r} is worked out", ", ".join(metrics)
        else:
            continue
        raise PlanError(f"{requirement.text}: {reason}", code="bad_requirement", remedy=f"There are {known}")


def check_requirements(texts: Sequence[str], scores: Sequence[Score]) -> tuple[list[str], dict[str, Any], bool]:
    """Whether scores reach what is required, in words and for JSON.

    Args:
        texts: as the user wrote them.
        scores: the rows of all cases.
    Returns:
        a line each; ``requirements`` with a verdict each, nothing where nothing is required; and whether one was
        missed.
    Raises:
        PlanError: a text that is no requirement.
    """
    verdicts = judge_scores([parse_requirement(text) for text in texts], scores)
    content = {"requirements": [verdict.to_json() for verdict in verdicts]} if verdicts else {}
    return [verdict.line() for verdict in verdicts], content, not all(verdict.met for verdict in verdicts)


def judge_scores(requirements: Sequence[Requirement], scores: Sequence[Score]) -> list[Verdict]:
    """Whether scores reach what is required.

    Args:
        requirements: of the user.
        scores: the rows of all cases.
    Returns:
        a verdict each, in their order. The value is the mean over cases, infinite where one distance is; by stratum it
        is the mean over all lesions of that volume, whichever case they are from.
    """
    return [_judge(requirement, scores) for requirement in requirements]


def _judge(requirement: Requirement, scores: Sequence[Score]) -> Verdict:
    if requirement.stratum:
        rows = pick_lesions(scores, requirement.metric, [requirement.stratum]).get(
            (requirement.label, requirement.stratum.name), []
        )
    else:
        wanted = (requirement.label, requirement.metric, 0)
        rows = [row for row in scores if (row.label, row.metric, row.instance) == wanted]
    values = [row.value for row in rows if row.value is not None]
    return Verdict(requirement, math.fsum(values) / len(values) if values else None, len(values))
