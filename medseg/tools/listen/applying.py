"""What a rule makes of a case: masks and objects, what is missing, what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.compute.devices import choose_device
from medseg.core.errors import MedsegError, ResourceError
from medseg.core.manifest import CaseOutcome
from medseg.tools.listen.completeness import list_received
from medseg.tools.listen.fetching import fetch_earlier
from medseg.tools.listen.queue import EARLIER, RESULTS, SCANS
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
    Raises:
        ResourceError: there is no such device.
    """

    def __init__(self, device: str) -> None:
        self.device = str(choose_device(device))
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
        follow, more = _prepare_earlier(predictor, case, output / EARLIER, rule)
        several = len(predictor.model.plan.channels) > 1
        sources = [case / SCANS] if several else _list_fitting(case, rule)
        outcomes = [outcome for source in sources for outcome in _segment(predictor, source, output, rule, follow)]
    except ResourceError:
        raise
    except MedsegError as error:
        return Made((), (_tell(error, rule.name),), notes)
    return Made(_list_results(case, output, rule, outcomes), _list_problems(rule, outcomes), (*notes, *more))


def _prepare_earlier(predictor: Predictor, case: Path, output: Path, rule: Rule) -> tuple[Path | None, tuple[str, ...]]:
    """Where earlier masks are whose lesions go on: those that the archive has, else those that are made here.

    Returns the folder, None where there is none, and notes: what is wrong with an earlier study is no more than that,
    since the case itself lacks nothing.
    """
    from medseg.io.dicom.earlier import list_segmentations, read_earlier_mask

    studies = case / EARLIER / rule.name
    if not any(studies.glob("*/*/*.dcm")):
        return None, ()
    try:
        if any(read_earlier_mask(path) is not None for path in list_segmentations(studies)):
            return studies, ()
        outcomes = _segment(predictor, studies, output, rule, output)
        problems = _list_problems(rule, outcomes)
        notes = tuple(f"{rule.name}: earlier study: {problem.line()}" for problem in problems)
        named = any(read_earlier_mask(path) is not None for path in list_segmentations(output))
        return output if named else None, notes
    except ResourceError:
        raise
    except MedsegError as error:
        return None, (f"{rule.name}: earlier studies: {error.reason}",)


def _segment(predictor: Predictor, source: Path, output: Path, rule: Rule, follow: Path | None) -> list[CaseOutcome]:
    from medseg.inference.folders.source import predict_source

    formats = ",".join(rule.formats)
    return predict_source(predictor, source, output, file_format=formats, rules=rule.channels, follow=follow)


def _list_fitting(case: Path, rule: Rule) -> list[Path]:
    """The folders of the scans that a rule asks for."""
    return [series.folder for series in list_received(case) if not series.reason and rule.fits(series.facts)]


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
