"""Scoring as challenges publish it: which metrics, what empty masks get, how lesions are matched and punished."""

from __future__ import annotations

from medseg.core.registry import Registry
from medseg.evaluation.rules.autopet import AUTOPET
from medseg.evaluation.rules.brats import BRATS, BRATS_MEN, BRATS_MET
from medseg.evaluation.rules.kits import KITS
from medseg.evaluation.rules.nnunet import NNUNET
from medseg.evaluation.rules.regions import Region, Rules, settle_regions

RULES: Registry[Rules] = Registry("set of rules")

for _rules in (BRATS, BRATS_MEN, BRATS_MET, AUTOPET, KITS, NNUNET):
    RULES.add(_rules.name)(_rules)

__all__ = ["RULES", "Region", "Rules", "settle_regions"]
