"""Cases that turned out to be damaged while a network trains, left out from then on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from medseg.core.manifest import CaseOutcome

logger = logging.getLogger(__name__)


@dataclass
class Quarantine:
    """The damaged cases of one run.

    What a sample holds depends on which cases are damaged, not on when that was found out: another case, drawn by the
    sample's own generator, comes in their place. Keep ``facts`` with a checkpoint and ``load`` them before going on, so
    that a case whose damage a later patch would not touch stays out as well.
    """

    _outcomes: dict[str, CaseOutcome] = field(default_factory=dict)

    def __contains__(self, case: str) -> bool:
        return case in self._outcomes

    def __iter__(self) -> Iterator[str]:
        return iter(self._outcomes)

    @property
    def outcomes(self) -> list[CaseOutcome]:
        """One per case, in the order in which they were found."""
        return list(self._outcomes.values())

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What ``load`` takes, as JSON."""
        return [asdict(outcome) for outcome in self._outcomes.values()]

    def add(self, outcomes: Iterable[CaseOutcome]) -> None:
        """Leave cases out from now on, each told in one line, once; the reason that was found first stays."""
        for outcome in outcomes:
            if outcome.case not in self._outcomes:
                self._outcomes[outcome.case] = outcome
                logger.error("%s", outcome.line())

    def load(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Leave out what a checkpoint says was found before it."""
        for fact in facts:
            outcome = CaseOutcome(**{**fact, "inputs": tuple(fact["inputs"])})
            self.add([outcome])
