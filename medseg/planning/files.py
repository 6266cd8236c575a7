"""A workspace's plan and folds on disk."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.records import read_json, write_json
from medseg.core.workspace import Workspace, read_plan
from medseg.planning.folds import make_folds
from medseg.planning.plan import make_plan
from medseg.planning.spacing import Wanted

logger = logging.getLogger(__name__)


def write_plan(
    space: Workspace,
    *,
    preset: str,
    gpu_memory_gb: float | None = None,
    spacing_mm: Wanted | None = None,
    window_hu: Sequence[float] | None = None,
) -> Plan:
    """Plan for a workspace's fingerprint: ``W/plan.json``, ``W/folds.json``.

    Args:
        space: with a fingerprint.
        preset: whose rules to follow.
        gpu_memory_gb: what training may use on a GPU; the preset's own target where None.
        spacing_mm: one number, three (i, j, k) or ``isotropic``, in place of the planner's choice.
        window_hu: what CT is clipped to, in place of the planner's choice.
    Returns:
        the plan; a data set of one patient has no folds.
    Raises:
        PlanError: a preset or number that cannot work.
    """
    found = Fingerprint.read(space.fingerprint)
    made = make_plan(found, preset=preset, gpu_memory_gb=gpu_memory_gb, spacing_mm=spacing_mm, window_hu=window_hu)
    made.write(space.plan)
    write_json(space.folds, make_folds(found.cases) if len({case.patient for case in found.cases}) > 1 else [])
    return made


def ensure_plan(space: Workspace, preset: str) -> Plan:
    """The workspace's plan where it stands for the data set as it was just fingerprinted, else a new one.

    Args:
        space: with a fresh fingerprint.
        preset: whose rules to follow.
    Returns:
        the plan, which is in ``W/plan.json``, with its folds.
    Raises:
        PlanError: the scans cannot be planned for.
    """
    if plan_stands(space, preset):
        logger.info("%s: kept as it stands; remove it to plan anew", space.plan)
        return read_plan(space)
    return write_plan(space, preset=preset)


def plan_stands(space: Workspace, preset: str) -> bool:
    """Whether a workspace already has a plan for the data set as it was just fingerprinted.

    Args:
        space: with a fresh fingerprint.
        preset: that a new plan would follow.
    Returns:
        True where plan and folds are there and name the same preset, channels, labels and cases; such a plan, which
        somebody may have edited, need not be made again.
    """
    if not (space.plan.is_file() and space.folds.is_file()):
        return False
    plan, found, folds = read_plan(space), Fingerprint.read(space.fingerprint), read_json(space.folds)
    same = (plan.preset, plan.channels, plan.labels) == (preset, found.channels, found.labels)
    named = {case for fold in folds for part in ("train", "validation") for case in fold[part]}
    return same and named == ({case.case for case in found.cases} if folds else set())
