"""From a fingerprint to a plan: spacing, patch, network, normalisation, folds, each with its reason."""

from medseg.planning.explain import explain_plan
from medseg.planning.files import ensure_plan, plan_stands, read_target, write_plan
from medseg.planning.fold_files import read_folds, take_folds
from medseg.planning.folds import Fold, make_folds
from medseg.planning.from_nnunet import plan_from_nnunet, write_plan_from_nnunet
from medseg.planning.like import Template, plan_like
from medseg.planning.plan import check_request, make_plan
from medseg.planning.presets import PRESETS

__all__ = [
    "PRESETS",
    "Fold",
    "Template",
    "check_request",
    "ensure_plan",
    "explain_plan",
    "make_folds",
    "make_plan",
    "plan_from_nnunet",
    "plan_like",
    "plan_stands",
    "read_folds",
    "read_target",
    "take_folds",
    "write_plan",
    "write_plan_from_nnunet",
]
