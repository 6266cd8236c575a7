"""The stages of a cascade in the right order: which folds of the first must be there before the second can learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.core.dataset import Dataset
from medseg.core.manifest import CaseOutcome
from medseg.core.plan import Plan
from medseg.core.plugins import load_plugins
from medseg.core.results import Score
from medseg.core.workspace import Workspace, read_plan
from medseg.training.cascade import list_missing_folds
from medseg.training.runs import run_fold
from medseg.training.settings import change_settings
from medseg.training.splits import Fold, split_cases

logger = logging.getLogger(__name__)


def order_stages(plan: Plan, names: Sequence[str]) -> list[str]:
    """Configurations with the first stages that they read, each before the stage that reads it.

    Args:
        plan: that has them.
        names: the configurations that are wanted.
    Returns:
        each once, in the order given as far as stages allow.
    Raises:
        PlanError: the plan has no such configuration.
    """
    found: dict[str, None] = {}
    for name in names:
        first = plan.configuration(name).previous
        found |= {first: None} if first is not None else {}
        found[name] = None
    return list(found)


def train_stages(
    space: Workspace,
    dataset: Dataset,
    name: str,
    fold: Fold,
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    settings: Mapping[str, str] | None = None,
    plugins: Sequence[str] = (),
    start_from: str | Path | None = None,
    **options: Any,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Train a fold of a workspace, before it the folds of a first stage that it needs and that are not finished.

    Args:
        space: with plan, folds and prepared cases.
        dataset: where the references are.
        name: the configuration; the second stage of a cascade needs every fold of its first, each of which predicts
            the cases that it has not seen, even where ``fold`` is ``all``.
        fold: its number, or ``all``.
        seconds: of training; shared equally by all networks that are trained.
        epochs: of each; the plan's where both are None.
        device: where.
        plugins, start_from: as for ``run_fold``.
        settings, options: as for ``run_fold``, for ``name`` alone.
    Returns:
        as ``run_fold``, and an outcome for each case that a first stage refused.
    Raises:
        PlanError: as ``run_fold``; or there are no folds for a cascade.
    Source: nnU-Net wants each fold of the first stage trained by hand; for ``all`` it takes masks that the first stage
        predicts of the cases it was trained on, which are better than those of new scans.
    """
    plan = read_plan(space)
    load_plugins(plugins)  # before the names that they bring are looked up
    first = plan.configuration(name).previous
    missing = [] if first is None else list_missing_folds(space, first)
    outcomes: list[CaseOutcome] = []
    if first is not None and missing:
        # What cannot work is told before the first stage is trained, which may take days.
        split_cases(space, name, fold)
        change_settings(plan.configuration(name), settings or {})
        listed = ", ".join(map(str, missing))
        logger.info("%s reads the masks of %s, whose folds %s are trained first", name, first, listed)
        if seconds is not None:
            seconds /= len(missing) + 1
            logger.info("the budget is shared by %d networks: %.0f s each", len(missing) + 1, seconds)
        for number in missing:
            found, _ = run_fold(
                space, dataset, first, number, seconds=seconds, epochs=epochs, device=device, plugins=plugins,
                start_from=start_from,
            )  # fmt: skip
            outcomes += [outcome for outcome in found if outcome.status in ("refused", "failed")]
    found, scores = run_fold(
        space, dataset, name, fold, seconds=seconds, epochs=epochs, device=device, settings=settings, plugins=plugins,
        start_from=start_from, **options,
    )  # fmt: skip
    return outcomes + found, scores
