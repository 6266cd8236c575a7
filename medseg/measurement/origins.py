"""Where a mask comes from: what ``run.json`` beside it says of the model that predicted it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.dataset import MaskSource
from medseg.core.errors import FormatError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import hash_file, label_entries, read_run
from medseg.core.model import VolumeErrors

Runs = Mapping[Path, Mapping[str, Any]]


@dataclass(frozen=True)
class MaskOrigin:
    """What is known of a mask's model.

    Args:
        model: its hash; empty where no run.json names one.
        errors: of its volumes; None where they are not known.
        reason: why they are not known; empty where they are.
        member_volumes_ml: by label the volume in each network's own mask; empty for a single network.
    """

    model: str = ""
    errors: VolumeErrors | None = None
    reason: str = ""
    member_volumes_ml: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def read_runs(masks: Iterable[MaskSource]) -> dict[Path, dict[str, Any]]:
    """The ``run.json`` of each folder that holds one of the masks."""
    return {folder: read_run(folder) for folder in {source.path.parent for source in masks}}


def find_origin(source: MaskSource, runs: Runs, labels: LabelScheme) -> MaskOrigin:
    """What is known of the model that predicted a mask; the model itself is not needed.

    Args:
        source: where the mask is.
        runs: of ``read_runs``.
        labels: the scheme that the mask is read with.
    Returns:
        the model's errors where the mask is the very file that ``predict`` or ``run`` wrote (by SHA-256) and these
        errors hold for how it was predicted; else the reason.
    """
    run = runs.get(source.path.parent, {})
    model, written = run.get("model"), _find_output(run, source.path.name)
    if run.get("command") not in ("predict", "run") or not isinstance(model, str):
        return MaskOrigin(reason="no run.json of medseg predict stands beside the mask")
    if written is None or source.structures:
        return MaskOrigin(model, reason="run.json beside the mask does not name it")
    case, digest = written
    if hash_file(source.path) != digest:
        return MaskOrigin(model, reason="the mask was changed since it was predicted")
    members = _read_members(run, case, labels)
    entry = run.get("volume_errors")
    if not isinstance(entry, dict):
        reason = "run.json says nothing of the model's errors; an older medseg wrote it"
        return MaskOrigin(model, reason=reason, member_volumes_ml=members)
    if entry.get("table") is None:
        return MaskOrigin(model, reason=str(entry.get("reason") or "not known"), member_volumes_ml=members)
    try:
        return MaskOrigin(model, VolumeErrors.parse(entry["table"]), member_volumes_ml=members)
    except FormatError as error:
        reason = f"volume_errors in run.json are damaged: {error.reason}"
        return MaskOrigin(model, reason=reason, member_volumes_ml=members)


def _find_output(run: Mapping[str, Any], file: str) -> tuple[str, str] | None:
    """The case whose mask a file is, and the hash that it was written with."""
    cases = run.get("cases")
    for case in cases if isinstance(cases, list) else []:
        outputs = case.get("outputs") if isinstance(case, dict) else None
        if isinstance(outputs, dict) and file in outputs:
            return str(case.get("case")), str(outputs[file])
    return None


def _read_members(run: Mapping[str, Any], case: str, labels: LabelScheme) -> dict[str, tuple[float, ...]]:
    """The volumes in each network's own mask, of the labels that have the same values there and here."""
    here = label_entries(labels)["labels"]
    try:
        entry, there = run["member_volumes_ml"][case], run["labels"]
        return {
            name: tuple(map(float, entry[name])) for name in labels.names if name in entry and there[name] == here[name]
        }
    except (KeyError, TypeError, ValueError):  # a single network, or somebody wrote in it
        return {}
