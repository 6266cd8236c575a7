"""What a command did to each case: ``run.json`` in its output folder."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from medseg.core.dataset import MaskSource
from medseg.core.errors import MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.records import read_json, write_json

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


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Args:
        outcomes: what became of each case.
        text: the result for a person, on standard output.
        content: the same for machines, JSON.
        missed: whether a score that was required was not reached.
    """

    outcomes: list[CaseOutcome]
    text: str
    content: dict[str, Any]
    missed: bool = False

    def to_json(self) -> str:
        """The outcomes and the content, for ``--json``."""
        cases = [asdict(outcome) for outcome in self.outcomes]
        return json.dumps({**self.content, "cases": cases}, indent=1)


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
    if isinstance(error, OSError) and error.filename:
        code = "missing_file" if isinstance(error, FileNotFoundError) else "file"
        remedy = "Check that it is there, that it may be used, and that the disk has room"
        return CaseOutcome(case, "failed", code, (str(error.filename),), str(error.strerror), remedy)
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is PyTorch's
        remedy = "Free memory or use a machine with more; the same command goes on with this case"
        return CaseOutcome(case, "failed", "memory", reason=f"the memory is full: {reason}", remedy=remedy)
    return CaseOutcome(case=case, status="failed", code="unexpected", reason=reason)


def exit_code(outcomes: Iterable[CaseOutcome]) -> int:
    """0 where every case is done, 3 where some were refused or failed, 2 where none could start."""
    statuses = [outcome.status for outcome in outcomes]
    bad = sum(status in ("refused", "failed") for status in statuses)
    if not bad:
        return 0
    return 2 if bad == len(statuses) else 3


def unite_outcomes(outcomes: Iterable[CaseOutcome]) -> list[CaseOutcome]:
    """One outcome per case and fault: a case that several steps finished is done once, one that a step refused is not.

    Args:
        outcomes: of several steps.
    Returns:
        sorted by case; the files that the steps wrote are put together, and so is what they doubt about a case.
    """
    by_case: dict[str, list[CaseOutcome]] = {}
    for outcome in outcomes:
        by_case.setdefault(outcome.case, []).append(outcome)
    united: list[CaseOutcome] = []
    for case in sorted(by_case):
        bad = [outcome for outcome in by_case[case] if outcome.status in ("refused", "failed")]
        if bad:
            united += {outcome.line(): outcome for outcome in bad}.values()
            continue
        outputs = {name: digest for outcome in by_case[case] for name, digest in outcome.outputs.items()}
        inputs = next((outcome.inputs for outcome in by_case[case] if outcome.inputs), ())
        said = {outcome.reason: outcome for outcome in by_case[case] if outcome.reason}  # doubts about a usable case
        code = next((outcome.code for outcome in said.values()), "")
        remedy = "; ".join(dict.fromkeys(outcome.remedy for outcome in said.values() if outcome.remedy))
        united.append(CaseOutcome(case, "done", code, inputs, "; ".join(said), remedy, outputs))
    return united


def name_time() -> str:
    """The present time for ``run.json``, in UTC to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def label_entries(labels: LabelScheme | None) -> dict[str, Any]:
    """Labels as nnU-Net's ``dataset.json`` writes them, for ``run.json``, so that a folder of masks explains itself."""
    if labels is None:
        return {}
    named: dict[str, int | list[int]] = {"background": 0}
    named |= {name: values[0] if len(values) == 1 else list(values) for name, values in labels.labels.items()}
    named |= {"ignore": labels.ignore} if labels.ignore is not None else {}
    tolerances = {"tolerance_mm": labels.tolerance_mm} if labels.tolerance_mm else {}
    return {"labels": named, "regions_class_order": list(labels.paint_order), **tolerances}


def write_run(
    folder: str | Path, command: str, outcomes: Iterable[CaseOutcome], *, started: str, **details: Any
) -> None:
    """Write ``run.json`` into ``folder``: version, command, start, cases and further details."""
    from medseg import __version__

    cases = [asdict(outcome) for outcome in outcomes]
    content = {"version": __version__, "command": command, "started": started, "cases": cases, **details}
    write_json(Path(folder) / "run.json", content)


def write_table_run(
    folder: str | Path, command: str, outcomes: Iterable[CaseOutcome], *, started: str, **details: Any
) -> None:
    """As ``write_run``, for a command that adds tables: what ``predict`` or ``run`` noted in the folder stays."""
    if read_run(folder).get("command") not in ("predict", "run"):
        write_run(folder, command, outcomes, started=started, **details)


def read_run(folder: str | Path) -> dict[str, Any]:
    """A folder's ``run.json``; empty where there is none or it is damaged."""
    path = Path(folder) / "run.json"
    try:
        content = read_json(path) if path.is_file() else {}
    except MedsegError:
        return {}
    return content if isinstance(content, dict) else {}


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_mask(source: MaskSource) -> str | dict[str, str]:
    """The SHA-256 of a mask's file; of each file, by structure, where it is a folder of structures."""
    if source.structures:
        return {name: hash_file(path) for name, path in source.structures}
    return hash_file(source.path)
