"""What a rule makes of a case: masks and objects, what is missing, what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core.errors import MedsegError, ResourceError
from medseg.core.manifest import CaseOutcome
from medseg.tools.listen.fetching import fetch_earlier
from medseg.tools.listen.instances import read_facts
from medseg.tools.listen.queue import EARLIER, RESULTS, SCANS, list_series
from medseg.tools.listen.records import Problem, Result
from medseg.tools.listen.rules import Rule, Rules

if TYPE_CHECKING:
    from medseg.inference import Predictor

# Models that stay in memory, the last used ones.
_WARM_MODELS = 2
_SENT = ".dcm"


class Models:
    """Loaded models, the last used ones; by their folders.

    Args:
        device: where they compute.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._loaded: dict[Path, Predictor] = {}

    def load(self, folder: Path) -> Predictor:
        """A model; raises ModelError where it cannot be used any more."""
        from medseg.inference import Predictor

        predictor = self._loaded.pop(folder, None) or Predictor.load(folder, device=self.device)
        self._loaded[folder] = predictor
        while len(self._loaded) > _WARM_MODELS:
            self._loaded.pop(next(iter(self._loaded)))
        return predictor


@dataclass(frozen=True)
class Made:
    """What a rule made of a case."""

    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def apply_rule(case: Path, name: str, rules: Rules, models: Models, *, fetch: bool) -> Made:
    """Segment a case by a rule.

    Args:
        case: its folder; results go to ``results/RULE``.
        name: the rule's.
        rules: with it; one that was taken out is a problem of the case.
        models: to load from.
        fetch: whether earlier studies are fetched where the rule asks for them.
    Returns:
        what it made, what is missing and why.
    Raises:
        NotFetchedError: earlier studies could not be fetched just now.
        ResourceError, MemoryError, OSError: for want of room, memory or a device.
    """
    rule = rules.find(name)
    if rule is None:
        return Made(problems=(_miss_rule(name),))
    output = case / RESULTS / rule.name
    notes: tuple[str, ...] = ()
    if rule.earlier is not None:
        missed = f"{rule.name}: without earlier studies: {rule.earlier.archive} did not give them"
        notes = fetch_earlier(case, rule, rules) if fetch else (missed,)
    try:
        predictor = models.load(rule.model)
        several = len(predictor.model.plan.channels) > 1
        sources = [case / SCANS] if several else _list_fitting(case, rule)
        outcomes = [outcome for source in sources for outcome in _segment(predictor, source, output, rule)]
    except ResourceError:
        raise
    except MedsegError as error:
        return Made((), (_tell(error, rule.name),), notes)
    notes += _segment_earlier(predictor, case, output / EARLIER, rule)
    return Made(_list_results(case, output, rule, outcomes), _list_problems(rule, outcomes), notes)


def _segment_earlier(predictor: Predictor, case: Path, output: Path, rule: Rule) -> tuple[str, ...]:
    """Segment earlier studies; what is wrong with one is a note, since the case itself lacks nothing."""
    notes: list[str] = []
    for study in sorted((case / EARLIER).glob("*")):
        if not any(study.glob("*/*.dcm")):
            continue
        try:
            outcomes = _segment(predictor, study, output, rule)
            notes += [f"{rule.name}: earlier study: {problem.line()}" for problem in _list_problems(rule, outcomes)]
        except ResourceError:
            raise
        except MedsegError as error:
            notes.append(f"{rule.name}: earlier study: {error.reason}")
    return tuple(notes)


def _segment(predictor: Predictor, source: Path, output: Path, rule: Rule) -> list[CaseOutcome]:
    from medseg.inference.folders.source import predict_source

    return predict_source(predictor, source, output, file_format=",".join(rule.formats), rules=rule.channels)


def _list_fitting(case: Path, rule: Rule) -> list[Path]:
    """The folders of the series that a rule asks for."""
    return [
        folder for folder in list_series(case)
        if rule.fits(read_facts(min(folder.glob("*.dcm"))))
    ]  # fmt: skip


def _list_results(case: Path, output: Path, rule: Rule, outcomes: Iterable[CaseOutcome]) -> tuple[Result, ...]:
    return tuple(
        Result(rule=rule.name, file=(output / file).relative_to(case).as_posix(), sha256=digest)
        for outcome in outcomes if outcome.status in ("done", "skipped")
        for file, digest in outcome.outputs.items() if file.endswith(_SENT)
    )  # fmt: skip


def _list_problems(rule: Rule, outcomes: Iterable[CaseOutcome]) -> tuple[Problem, ...]:
    return tuple(
        Problem(code=outcome.code, reason=outcome.reason, remedy=outcome.remedy, case=outcome.case, rule=rule.name)
        for outcome in outcomes if outcome.status in ("refused", "failed")
    )  # fmt: skip


def _tell(error: MedsegError, rule: str) -> Problem:
    return Problem(code=error.code, reason=error.reason, remedy=error.remedy or "", case=error.case or "", rule=rule)


def _miss_rule(name: str) -> Problem:
    remedy = "Write it again, then move the case to waiting"
    return Problem(code="no_rule", reason="there is no such rule any more", remedy=remedy, rule=name)
