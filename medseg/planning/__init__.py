"""From a fingerprint to a plan: spacing, patch, network, normalisation, folds, each with its reason."""

from medseg.planning.explain import explain_plan
from medseg.planning.folds import Fold, make_folds
from medseg.planning.plan import PRESETS, check_request, make_plan

__all__ = ["PRESETS", "Fold", "check_request", "explain_plan", "make_folds", "make_plan"]
