"""What a folder of DICOM files holds, for a person and for machines."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.core.errors import MedsegError, show_name
from medseg.core.manifest import CaseOutcome, StepResult, outcome_of_error
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.kinds import IMAGE
from medseg.io.dicom.read import note_stack, plan_stack
from medseg.io.dicom.recognition import is_dicom_tree
from medseg.io.dicom.series import DicomSeries, DicomTree
from medseg.io.dicom.stacking import make_geometry
from medseg.io.guard import check_geometry

logger = logging.getLogger(__name__)

_KINDS = {"segmentation": "SEG, masks", "contours": "RTSTRUCT, contours"}


def list_dicom(path: str | Path) -> StepResult | None:
    """As ``describe_series``, of a path that is DICOM; None for any other path."""
    return describe_series(path) if is_dicom_tree(path) else None


def describe_series(folder: str | Path) -> StepResult:
    """The series of a folder: what each is, how its planes lie or why it is refused, and why other files are unused.

    Args:
        folder: with DICOM files anywhere below it, or one file; their pixels are not read.
    Returns:
        an outcome per series; the text names each and counts the unused files by reason, the content lists all.
    Raises:
        DatasetError: there is no such folder or file.
    """
    tree = find_series(folder)
    outcomes: list[CaseOutcome] = []
    entries: list[dict[str, Any]] = []
    lines: list[str] = []
    for series in tree.series:
        entry, error = _describe(series)
        if error is None:
            outcomes.append(CaseOutcome(series.name, "done", inputs=(str(series.files[0]),)))
        else:
            outcomes.append(replace(outcome_of_error(error, series.name), case=series.name))
            logger.error("%s", outcomes[-1].line())
        found = entry["found"] if error is None else f"refused: {error.reason}"
        lines.append("\n  ".join([f"{series.name}: {found}", *entry["notes"]]))
        entries.append(entry)
    unused = [{"file": show_name(str(path)), "reason": reason} for path, reason in tree.unused]
    content = {"layout": "DICOM", "series": entries, "unused": unused, "files": tree.file_count}
    return StepResult(outcomes, "\n".join([_count(tree), *lines, *_count_unused(tree)]), content)


def _describe(series: DicomSeries) -> tuple[dict[str, Any], MedsegError | None]:
    entry: dict[str, Any] = {
        "kind": series.kind,
        "series_uid": show_name(series.series_uid),
        "modality": show_name(series.modality),
        "name": series.name,
        "part": series.part,
        "planes": len(series.planes),
        "files": len(series.files),
        "found": _KINDS.get(series.kind, ""),
        "notes": list(series.notes),
    }
    try:
        if series.problem is not None:
            raise series.problem
        if series.kind == IMAGE:
            stack = plan_stack(series)
            geometry = check_geometry(make_geometry(stack), stack.planes[0].path)
            entry["found"] = f"{geometry.describe()}, {geometry.orientation}"
            entry["notes"] += note_stack(stack)
    except MedsegError as error:
        return entry, error
    return entry, None


def _count(tree: DicomTree) -> str:
    used = tree.file_count - len(tree.unused)
    return (
        f"{tree.root}: DICOM; {tree.file_count} files: {used} of {len(tree.series)} series, {len(tree.unused)} unused"
    )


def _count_unused(tree: DicomTree) -> list[str]:
    """A line per reason, the most frequent first."""
    by_reason: dict[str, list[Path]] = defaultdict(list)
    for path, reason in tree.unused:
        by_reason["a copy of another file" if reason.startswith("a copy of ") else reason].append(path)
    return [
        f"unused, {reason}: {len(paths)} file{'s' if len(paths) > 1 else ''}, the first {show_name(str(paths[0]))}"
        for reason, paths in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
