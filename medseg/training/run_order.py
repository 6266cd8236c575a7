"""Which networks ``medseg run`` trains, in which order, and how long each."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.compute.devices import choose_device
from medseg.core.dataset import Dataset
from medseg.core.errors import MedsegError, PlanError
from medseg.core.manifest import CaseOutcome
from medseg.core.plan import Plan
from medseg.core.plugins import load_plugins
from medseg.core.workspace import Workspace, read_plan
from medseg.planning import Template, read_folds
from medseg.preprocessing import open_prepared, read_index
from medseg.training.budget import predict_seconds, share_budget, time_window
from medseg.training.cascade import list_missing_folds
from medseg.training.fine_tuning.starts import open_template
from medseg.training.runs import run_fold
from medseg.training.settings import change_settings, check_settings
from medseg.training.splits import Fold
from medseg.training.stages import order_stages

logger = logging.getLogger(__name__)

Job = tuple[str, Fold]


def check_folds(folds: str | None) -> None:
    """Refuse words for ``--folds`` that mean nothing, whatever the data set.

    Args:
        folds: the user's; None where they gave none.
    Raises:
        PlanError: it is neither numbers nor ``each`` nor ``all``.
    """
    if folds is None or folds in ("each", "all"):
        return
    if not all(part.strip().isdigit() for part in folds.split(",")):
        raise PlanError(f"folds {folds!r}", code="unknown_fold", remedy="Give 0 or 0,1 or each or all")


def choose_rules(device: str, start_from: str | Path | None = None) -> tuple[str, Template | None]:
    """Whose rules ``medseg run`` plans by.

    Args:
        device: where it will train.
        start_from: a model or run to begin from.
    Returns:
        the preset for the device, and the model whose plan is followed in its place; None without one.
    Raises:
        ResourceError: the device is not there.
        ModelError: there is no model to begin from, or it is damaged.
    """
    preset = "cpu" if choose_device(device).type == "cpu" else "nnunet"
    return preset, None if start_from is None else open_template(start_from)


def check_request(
    folds: str | None,
    settings: Mapping[str, str],
    plugins: Sequence[str],
    device: str,
    start_from: str | Path | None = None,
) -> tuple[str, Template | None]:
    """Refuse what cannot work whatever the data set, before its scans are read.

    Args:
        folds: the user's words; None where they gave none.
        settings: other values for keys of the plan's configurations.
        plugins: modules that enter networks or losses into the tables.
        device: where it will train.
        start_from: a model or run to begin from.
    Returns:
        whose rules to plan by, as ``choose_rules`` gives it.
    Raises:
        PlanError: folds or settings that mean nothing.
        ResourceError: the device is not there.
        ModelError: there is no model to begin from, or it is damaged.
    """
    check_folds(folds)
    check_settings(settings, plugins)
    return choose_rules(device, start_from)


def announce_jobs(plan: Plan, jobs: Sequence[Job]) -> list[str]:
    """Say which networks are trained.

    Args:
        plan: the workspace's.
        jobs: configuration and fold of each.
    Returns:
        their configurations, each once.
    """
    listed = ", ".join(f"{name} fold {fold}" for name, fold in jobs)
    logger.info("planned for %s (preset %s); to train: %s", plan.target, plan.preset, listed)
    return list(dict(jobs))


def choose_jobs(space: Workspace, configurations: Sequence[str] | None, folds: str | None, *, timed: bool) -> list[Job]:
    """Which networks ``medseg run`` trains.

    Args:
        space: with a plan and folds.
        configurations: the user's; with a budget the 3D one where there is one, else all, where None.
        folds: ``0``, ``0,1``, ``each`` or ``all``; ``0`` with a budget, ``each`` without, where None.
        timed: whether there is a budget.
    Returns:
        configuration and fold of each network, in the order of training: before the second stage of a cascade those
        folds of the first that are not finished.
    Raises:
        PlanError: a fold or configuration that is not there, or a cascade of a data set without folds.
    """
    plan, count = read_plan(space), len(read_folds(space))
    wanted = folds or ("0" if timed else "each")
    numbers = _choose_numbers(wanted, count)
    asked = list(configurations or _choose_usual(plan, timed=timed, each=numbers == list(range(count))))
    first_stages = {plan.configuration(name).previous for name in asked}
    jobs: list[Job] = []
    for name in order_stages(plan, asked):
        # The second stage of a cascade needs every fold of its first.
        needed: list[Fold] = [*list_missing_folds(space, name)] if name in first_stages else []
        jobs += [(name, number) for number in dict.fromkeys([*needed, *(numbers if name in asked else [])])]
    return jobs


def _choose_usual(plan: Plan, *, timed: bool, each: bool) -> list[str]:
    """The configurations that are trained where the user names none; a cascade only where each fold is."""
    usual = [name for name, found in plan.configurations.items() if each or found.previous is None]
    left = [name for name in plan.configurations if name not in usual]
    if left and not timed:
        logger.info("%s: not trained, as it needs each fold of the stage before it", ", ".join(left))
    return [name for name in usual if name.startswith("3d")][:1] or usual if timed else usual


def _choose_numbers(wanted: str, count: int) -> list[Fold]:
    if wanted == "all" or count == 0:
        return ["all"]
    if wanted == "each":
        return list(range(count))
    parts = wanted.split(",")
    if not all(part.strip().isdigit() and int(part) < count for part in parts):
        raise PlanError(f"folds {wanted!r}", code="unknown_fold", remedy=f"Give some of 0 to {count - 1}, each or all")
    return [int(part) for part in parts]


def train_jobs(
    space: Workspace,
    dataset: Dataset,
    jobs: Sequence[Job],
    *,
    budget_s: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    settings: Mapping[str, str] | None = None,
    plugins: Sequence[str] = (),
    **options: Any,
) -> list[CaseOutcome]:
    """Train and validate one network after the other.

    Args:
        space: with plan, folds and prepared cases.
        dataset: of the workspace.
        jobs: configuration and fold of each, in order.
        budget_s: wall-clock for them and for prediction and report after them; None for ``epochs``.
        epochs: how many each; the plan's where both are None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        settings: other values for keys of the configurations.
        plugins: modules that enter networks or losses into the tables.
        options: ``start_from`` of ``run_fold``.
    Returns:
        an outcome per network and validation case.
    Raises:
        PlanError: the budget is too short, or a run stands that was made with other settings.
    """
    began, outcomes = time.monotonic(), list[CaseOutcome]()
    load_plugins(plugins)
    plan = read_plan(space)
    used = {name: change_settings(plan.configuration(name), settings or {}) for name in dict(jobs)}
    speeds: dict[str, float] = {}
    if budget_s is not None:
        speeds = {name: time_window(plan, configuration, device) for name, configuration in used.items()}
    for number, (name, fold) in enumerate(jobs):
        seconds = None
        if budget_s is not None:
            later = _later_seconds(space, dataset, jobs, number, speeds)
            seconds = share_budget(budget_s - (time.monotonic() - began), later, len(jobs) - number)
            logger.info("%s fold %s: %.0f s of training", name, fold, seconds)
        outcomes += run_fold(
            space, dataset, name, fold, seconds=seconds, epochs=epochs, device=device, settings=settings,
            plugins=plugins, **options,
        )[0]  # fmt: skip
    return outcomes


def _list_shapes(folder: Path, cases: Sequence[str]) -> list[tuple[int, int, int]]:
    """The voxels of prepared cases; damaged ones, which training will name, take no time."""
    shapes = []
    for case in cases:
        with contextlib.suppress(MedsegError):
            shapes.append(open_prepared(folder, case).shape)
    return shapes


def _later_seconds(
    space: Workspace, dataset: Dataset, jobs: Sequence[Job], number: int, speeds: Mapping[str, float]
) -> float:
    """What comes after the trainings that are left, from ``number`` on: their validation, then the test cases."""
    plan, folds = read_plan(space), read_folds(space)
    later = 0.0
    for name, fold in jobs[number:]:
        known = set(read_index(space.prepared(name)))
        held_out = sorted(set(folds[fold]["validation"]) & known) if isinstance(fold, int) else []
        shapes = _list_shapes(space.prepared(name), held_out)
        later += predict_seconds(plan.configuration(name), shapes, speeds[name])
    tests = {}
    for name in speeds:
        configuration, networks = plan.configuration(name), sum(other == name for other, _ in jobs)
        shapes = [configuration.median_shape] * len(dataset.test_cases)
        tests[name] = predict_seconds(configuration, shapes, speeds[name], networks=networks)
    # Which one is chosen is not known yet; the second stage of a cascade needs its first.
    firsts = {name: plan.configuration(name).previous for name in tests}
    return later + max(seconds + tests.get(firsts[name] or "", 0.0) for name, seconds in tests.items())
