"""Rules that clean predicted masks, and how they are chosen on a cross-validation."""

from medseg.core.model import Rule
from medseg.postprocessing.choosing import RuleEvidence, choose_rules
from medseg.postprocessing.rules import apply_rules
from medseg.postprocessing.tables import CaseTable, tabulate_case

__all__ = ["CaseTable", "Rule", "RuleEvidence", "apply_rules", "choose_rules", "tabulate_case"]
