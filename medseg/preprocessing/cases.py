"""Preparing the cases of a data set into a folder, only those that changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import ResourceError
from medseg.core.manifest import CaseOutcome, name_time, write_run
from medseg.core.plan import Configuration, Plan
from medseg.core.workspace import Workspace
from medseg.io import read_segmentation, read_volume
from medseg.preprocessing.prepare import prepare_case
from medseg.preprocessing.store import is_current, write_index, write_prepared

# Written into the key, so that cases that an older version prepared another way are prepared anew.
VERSION = 2


def prepare_workspace(
    space: Workspace,
    plan: Plan,
    dataset: Dataset,
    configurations: Sequence[str] | None = None,
    *,
    exact_store: bool = False,
    known: Sequence[CaseOutcome] = (),
) -> list[CaseOutcome]:
    """Prepare a workspace's cases for its configurations: ``W/prepared/C/`` and ``W/prepared/run.json``.

    Args:
        space: where the prepared cases go.
        plan: of the workspace.
        dataset: its cases, with channels and labels named.
        configurations: whose cases to prepare; all of the plan's where None.
        exact_store: keep resampled images in float32, not float16.
        known: what is already known about some cases, noted with the rest.
    Returns:
        the known outcomes, then one per case and configuration.
    Raises:
        PlanError: the plan has no such configuration.
    """
    started, outcomes = name_time(), list(known)
    for name in configurations or [name for name, found in plan.configurations.items() if found.previous is None]:
        configuration = plan.configuration(name)
        outcomes += prepare_cases(dataset, plan, configuration, space.prepared(name), exact_store=exact_store)
    write_run(space.root / "prepared", "preprocess", outcomes, started=started)
    return outcomes


def prepare_cases(
    dataset: Dataset, plan: Plan, configuration: Configuration, folder: str | Path, *, exact_store: bool = False
) -> list[CaseOutcome]:
    """Prepare every case of a data set, in threads, and list them in the folder's ``index.json``.

    Args:
        dataset: its cases, with channels and labels named.
        plan, configuration: how.
        folder: where the prepared cases go.
        exact_store: keep resampled images in float32, not float16.
    Returns:
        an outcome per case: ``done``, ``skipped`` where nothing changed, ``refused`` with the reason.
    """

    def prepare(case: Case) -> CaseOutcome:
        key = _make_key(case, plan, configuration, exact_store=exact_store)
        inputs = tuple(str(path) for path in _list_files(case))
        if is_current(folder, case.name, key):
            return CaseOutcome(case.name, "skipped", inputs=inputs)
        volume = read_volume(case, plan.channels, spacing_mm=dataset.spacing_mm)
        segmentation = None
        if case.mask is not None:
            segmentation = read_segmentation(
                case.mask, labels=plan.labels, like=volume.geometry, case=case.name, spacing_mm=dataset.spacing_mm
            )
        prepared = prepare_case(volume, segmentation, plan, configuration)
        try:
            write_prepared(folder, case.name, prepared, exact_store=exact_store, key=key)
        except OSError as error:
            raise ResourceError(f"the prepared case cannot be written: {error}", case=case.name, file=folder) from None
        return CaseOutcome(case.name, "done", inputs=inputs)

    title = f"preprocess {configuration.name}"
    outcomes, failures = map_cases(prepare, dataset.cases, lambda case: case.name, title=title)
    write_index(folder, sorted(outcome.case for outcome in outcomes))
    return outcomes + failures


def _list_files(case: Case) -> list[Path]:
    files = [source.path for source in case.images]
    if case.mask is not None:
        files += [path for _, path in case.mask.structures] or [case.mask.path]
    return files


def _make_key(case: Case, plan: Plan, configuration: Configuration, *, exact_store: bool) -> str:
    """Stands for all that a prepared case depends on: its files as they lie on disk, and the plan's settings."""
    files = [(str(path), status.st_size, status.st_mtime_ns) for path in _list_files(case) for status in [path.stat()]]
    settings = configuration.model_dump(mode="json", include={"spacing_mm", "normalisation", "dimensions"})
    parts = [
        VERSION,
        files,
        settings,
        plan.axis_order,
        plan.orientation,
        plan.channels,
        plan.labels.model_dump(mode="json"),
        exact_store,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
