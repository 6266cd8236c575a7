"""A case's own record, ``case.json``: what became of it so far, without anything that names a patient."""

from __future__ import annotations

from pydantic import Field

from medseg.core.records import Record


class Problem(Record):
    """Why something of a case is missing.

    Args:
        code, reason, remedy: as errors have them.
        case: the scan's name among the results; empty where it is about the whole case.
        rule: which was applied; empty where it is about all.
    """

    code: str
    reason: str
    remedy: str = ""
    case: str = ""
    rule: str = ""

    def line(self) -> str:
        """The problem on one line."""
        return ", ".join(part for part in (self.rule, self.case, self.code, self.reason, self.remedy) if part)


class Result(Record):
    """An object that a rule made.

    Args:
        rule: its name.
        file: within the case's folder.
        sha256: of its content.
        sent: the archives that have it.
    """

    rule: str
    file: str
    sha256: str
    sent: tuple[str, ...] = ()


class CaseRecord(Record):
    """What became of a case.

    Args:
        received: when it was complete, UTC.
        instances: how many it has.
        rules: those that fit.
        attempts: how often segmenting it was begun; one that ends well or is refused is the last.
        fetches: how often fetching earlier studies failed.
        sendings: how often sending to an archive failed.
        results: what is sent.
        problems: what is missing and why.
        notes: what is worth knowing.
        ended: when it was done or failed, UTC; None before.
    """

    received: str
    instances: int = Field(ge=0)
    rules: tuple[str, ...] = ()
    attempts: int = Field(default=0, ge=0)
    fetches: int = Field(default=0, ge=0)
    sendings: dict[str, int] = Field(default_factory=dict)
    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    ended: str | None = None
