"""A workspace's plan and folds on disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from medseg.core.dataset import read_dataset
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.core.records import read_json
from medseg.core.workspace import Workspace, read_plan
from medseg.io.files import PICTURE_ENDINGS, split_ending
from medseg.planning.fold_files import parse_folds, were_given, write_folds
from medseg.planning.folds import Fold, make_folds
from medseg.planning.like import Template, plan_like
from medseg.planning.plan import USUAL_PRESET, check_request, make_plan
from medseg.planning.spacing import Wanted

logger = logging.getLogger(__name__)


def write_plan(
    space: Workspace,
    *,
    preset: str,
    gpu_memory_gb: float | None = None,
    spacing_mm: Wanted | None = None,
    window_hu: Sequence[float] | None = None,
    folds: Sequence[Fold] | None = None,
    template: Template | None = None,
) -> Plan:
    """Plan for a workspace's fingerprint: ``W/plan.json``, ``W/folds.json``.

    Args:
        space: with a fingerprint.
        preset: whose rules to follow.
        gpu_memory_gb: what training may use on a GPU; the preset's own target where None.
        spacing_mm: one number, three (i, j, k) or ``isotropic``, in place of the planner's choice.
        window_hu: what CT is clipped to, in place of the planner's choice.
        folds: given ones; where None, those that somebody put into the workspace stay, else they are made.
        template: a model whose plan is followed in place of a preset's rules.
    Returns:
        the plan; a data set of one patient has no folds.
    Raises:
        PlanError: a preset or number that cannot work, or folds in the workspace that do not fit the data set.
    """
    found = Fingerprint.read(space.fingerprint)
    check_request(preset, gpu_memory_gb, spacing_mm, window_hu, followed=template is not None)
    if template is not None:
        made = plan_like(found, template)
    else:
        made = make_plan(found, preset=preset, gpu_memory_gb=gpu_memory_gb, spacing_mm=spacing_mm, window_hu=window_hu)
    patients = {case.case: case.patient for case in found.cases}
    given = folds if folds is not None else _find_given(space, patients)
    made.write(space.plan)
    usual = make_folds(found.cases) if len(set(patients.values())) > 1 else []
    write_folds(space, usual if given is None else given, given=given is not None)
    return made


def _find_given(space: Workspace, patients: Mapping[str, str]) -> list[Fold] | None:
    """The folds that somebody put into the workspace; None where they are the planner's own or there are none."""
    if not were_given(space):
        return None
    logger.info("%s: kept, as given; remove it to have folds made", space.folds)
    return parse_folds(read_json(space.folds), patients, file=space.folds)


def read_target(space: Workspace, stated_mm: Sequence[float] | None) -> Wanted | None:
    """What a spacing that somebody stated asks the planner for.

    Args:
        space: with a fresh note of the data set.
        stated_mm: one number or several.
    Returns:
        None where it is the spacing of files that do not know theirs (pictures); else the spacing to resample to.
    """
    cases = read_dataset(space.cases).cases
    if stated_mm is None or any(split_ending(case.images[0].path)[1] in PICTURE_ENDINGS for case in cases):
        return None
    return stated_mm


def ensure_plan(space: Workspace, preset: str, template: Template | None = None) -> Plan:
    """The workspace's plan where it stands for the data set as it was just fingerprinted, else a new one.

    Args:
        space: with a fresh fingerprint.
        preset: whose rules to follow.
        template: a model whose plan is followed in their place.
    Returns:
        the plan, which is in ``W/plan.json``, with its folds.
    Raises:
        PlanError: the scans cannot be planned for.
    """
    if plan_stands(space, template.preset if template else preset):
        logger.info("%s: kept as it stands; remove it to plan anew", space.plan)
        return read_plan(space)
    return write_plan(space, preset=preset if template is None else USUAL_PRESET, template=template)


def plan_stands(space: Workspace, preset: str) -> bool:
    """Whether a workspace already has a plan for the data set as it was just fingerprinted.

    Args:
        space: with a fresh fingerprint.
        preset: that a new plan would follow.
    Returns:
        True where plan and folds are there and name the same preset, channels, labels and cases; such a plan, which
        somebody may have edited, need not be made again. Folds that somebody gave may name some of the cases.
    Raises:
        PlanError: such folds do not fit the data set.
    """
    if not (space.plan.is_file() and space.folds.is_file()):
        return False
    plan, found = read_plan(space), Fingerprint.read(space.fingerprint)
    patients = {case.case: case.patient for case in found.cases}
    if (plan.preset, plan.channels, plan.labels) != (preset, found.channels, found.labels):
        return False
    given = were_given(space)
    folds = parse_folds(read_json(space.folds), patients if given else {}, file=space.folds)
    named = {case for fold in folds for case in fold["train"] + fold["validation"]}
    return given or named == (set(patients) if folds else set())
