"""Preparing the cases of a data set into a folder, only those that changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset, read_dataset, write_dataset
from medseg.core.disk import explain_write
from medseg.core.manifest import CaseOutcome, name_time, outcome_of_error, write_run
from medseg.core.plan import Configuration, Plan
from medseg.core.workspace import Workspace, read_plan
from medseg.io import open_dataset, read_segmentation, read_volume
from medseg.preprocessing.prepare import prepare_case
from medseg.preprocessing.room import require_room_for_cases
from medseg.preprocessing.store import is_current, share_prepared, write_index, write_prepared

# Written into the key, so that cases that an older version prepared another way are prepared anew.
VERSION = 2

Fresh = tuple[Path, set[str]]


def prepare_workspace(
    space: Workspace,
    configurations: Sequence[str] | None = None,
    *,
    dataset: str | Path | None = None,
    exact_store: bool = False,
) -> list[CaseOutcome]:
    """Prepare a workspace's cases for its configurations: ``W/prepared/C/`` and ``W/prepared/run.json``.

    Args:
        space: with a plan.
        configurations: whose cases to prepare, with the first stages that they read; all of the plan's where None.
        dataset: where the data set is now; where it was when it was fingerprinted, if None.
        exact_store: keep resampled images in float32, not float16.
    Returns:
        an outcome per case and configuration.
    Raises:
        PlanError: there is no plan, or it has no such configuration.
        ResourceError: the disk has no room for them.
    """
    started, outcomes = name_time(), list[CaseOutcome]()
    plan, cases = read_plan(space), read_dataset(space.cases)
    if dataset is not None:
        nonfinite = "fill" if cases.fills_nonfinite else "refuse"
        cases = open_dataset(
            dataset, channels=plan.channels, labels=plan.labels, spacing_mm=cases.spacing_mm, nonfinite=nonfinite
        )
        write_dataset(space.cases, cases)
        outcomes += [outcome_of_error(problem) for problem in cases.problems]
    asked = list(map(plan.configuration, configurations or plan.configurations))
    first_stages = [plan.configuration(found.previous) for found in asked if found.previous is not None]
    used = list({found.name: found for found in first_stages + asked}.values())
    require_room_for_cases(space, [case.name for case in cases.cases], used, exact_store=exact_store)
    fresh: dict[str, Fresh] = {}
    for configuration in used:
        folder, settings = space.prepared(configuration.name), json.dumps(_list_settings(configuration))
        found = prepare_cases(cases, plan, configuration, folder, exact_store=exact_store, fresh=fresh.get(settings))
        fresh.setdefault(settings, (folder, {outcome.case for outcome in found if outcome.status == "done"}))
        outcomes += found
    write_run(space.root / "prepared", "preprocess", outcomes, started=started)
    return outcomes


def prepare_cases(
    dataset: Dataset,
    plan: Plan,
    configuration: Configuration,
    folder: str | Path,
    *,
    exact_store: bool = False,
    fresh: Fresh | None = None,
) -> list[CaseOutcome]:
    """Prepare every case of a data set, in threads, and list them in the folder's ``index.json``.

    Args:
        dataset: its cases, with channels and labels named.
        plan, configuration: how.
        folder: where the prepared cases go.
        exact_store: keep resampled images in float32, not float16.
        fresh: a folder with cases that were prepared in the same way just now, and their names; those take no further
            room where the disk lets two folders share a file.
    Returns:
        an outcome per case: ``done``, ``skipped`` where nothing changed, ``refused`` with the reason.
    """

    def prepare(case: Case) -> CaseOutcome:
        key = _make_key(case, plan, configuration, exact_store=exact_store)
        inputs = tuple(str(path) for path in _list_files(case))
        if is_current(folder, case.name, key):
            return CaseOutcome(case.name, "skipped", inputs=inputs)
        if fresh is not None and case.name in fresh[1] and share_prepared(fresh[0], folder, case.name, key):
            return CaseOutcome(case.name, "done", inputs=inputs)
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
            raise explain_write(error, folder, case.name) from None
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


def _list_settings(configuration: Configuration) -> dict[str, Any]:
    """What of a configuration decides how a case is prepared."""
    return configuration.model_dump(mode="json", include={"spacing_mm", "normalisation", "dimensions"})


def _make_key(case: Case, plan: Plan, configuration: Configuration, *, exact_store: bool) -> str:
    """Stands for all that a prepared case depends on: its files as they lie on disk, and the plan's settings."""
    files = [(str(path), status.st_size, status.st_mtime_ns) for path in _list_files(case) for status in [path.stat()]]
    parts = [
        VERSION,
        files,
        _list_settings(configuration),
        plan.axis_order,
        plan.orientation,
        plan.channels,
        plan.labels.model_dump(mode="json"),
        exact_store,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
