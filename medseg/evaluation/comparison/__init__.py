"""Comparing methods that were scored on the same patients: shifts, tests, non-inferiority, ranks."""

from medseg.evaluation.comparison.comparing import compare_scores
from medseg.evaluation.comparison.folders import compare_folders
from medseg.evaluation.comparison.signed_ranks import correct_holm, estimate_shift, find_chance

__all__ = ["compare_folders", "compare_scores", "correct_holm", "estimate_shift", "find_chance"]
