"""What a command did to each case: ``run.json`` in its output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from medseg.core.errors import MedsegError
from medseg.core.records import write_json

CaseStatus = Literal["done", "refused", "failed", "skipped"]


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Args:
        status: ``done``; ``refused`` (its input is not usable); ``failed`` (a fault of the run); ``skipped``
            (done before and unchanged).
        inputs: the files it was read from.
        outputs: each file written, name to SHA-256.
    """

    case: str
    status: CaseStatus
    code: str = ""
    inputs: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """The one line a user sees: case, file, code, reason, remedy."""
        return ", ".join(part for part in (self.case, *self.inputs[:1], self.code, self.reason, self.remedy) if part)


def outcome_of_error(error: Exception, case: str = "") -> CaseOutcome:
    """The outcome of a case that an error ended: refused for a MedsegError, failed for anything else."""
    if isinstance(error, MedsegError):
        return CaseOutcome(
            case=error.case or case,
            status="refused",
            code=error.code,
            inputs=(error.file,) if error.file else (),
            reason=error.reason,
            remedy=error.remedy or "",
        )
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return CaseOutcome(case=case, status="failed", code="unexpected", reason=reason)


def exit_code(outcomes: Iterable[CaseOutcome]) -> int:
    """0 where every case is done, 3 where some were refused or failed, 2 where none could start."""
    statuses = [outcome.status for outcome in outcomes]
    bad = sum(status in ("refused", "failed") for status in statuses)
    if not bad:
        return 0
    return 2 if bad == len(statuses) else 3


def write_run(
    folder: str | Path, command: str, outcomes: Iterable[CaseOutcome], *, started: str, **details: Any
) -> None:
    """Write ``run.json`` into ``folder``: version, command, start, cases and further details."""
    from medseg import __version__

    cases = [asdict(outcome) for outcome in outcomes]
    content = {"version": __version__, "command": command, "started": started, "cases": cases, **details}
    write_json(Path(folder) / "run.json", content)


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
