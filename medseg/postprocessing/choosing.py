"""Choosing rules by what they would have done to the predictions of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from medseg.core.model import Rule
from medseg.core.records import Record
from medseg.postprocessing.rules import keep_components
from medseg.postprocessing.tables import CaseTable, LabelTable

# Minimum sizes that are tried, in millilitres: 0.02 ml is a ball of 3.4 mm, 1 ml one of 12.4 mm.
MINIMA_ML = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# And as shares of the smallest reference lesion, for anatomy of any size.
MINIMA_SHARES = (0.25, 0.5, 1.0)
# A smaller change of the mean Dice is rounding.
SMALLEST_GAIN = 1e-9


class RuleEvidence(Record):
    """What the best rule for one label did to the cross-validation, whether it was chosen or not.

    Args:
        label: the class or region.
        keep_largest, minimum_ml: the rule; False and 0 where leaving all components was best.
        chosen: whether the rule is to be used.
        cases: cases that were looked at.
        dice_before, dice_after: mean Dice over the cases; 1 where reference and prediction are both empty.
        lesions: reference lesions of all cases together.
        recall_before, recall_after: share of them that a kept component shares a voxel with; None without a lesion.
        reason: the decision in words.
    """

    label: str
    keep_largest: bool
    minimum_ml: float
    chosen: bool
    cases: int
    dice_before: float
    dice_after: float
    lesions: int
    recall_before: float | None
    recall_after: float | None
    reason: str


def choose_rules(tables: Iterable[CaseTable]) -> tuple[tuple[Rule, ...], list[RuleEvidence]]:
    """The rules that raise the mean Dice of a cross-validation without losing a lesion.

    Args:
        tables: one per case, from ``tabulate_case`` on its prediction by the model that had not seen it.
    Returns:
        a rule for each label that gains by one, in the order of the labels, and the evidence for every label. For each
        label keeping the largest component, a minimum size and both together are tried; a rule is open to choice where
        the reference lesions found (a kept component shares a voxel with them) do not get fewer; the one with the
        highest mean Dice over all cases is chosen where it is higher than without a rule, the mildest of equals. A case
        where neither mask holds the label counts as Dice 1, so that removing a false lesion of a healthy scan is worth
        something. Labels are judged one by one, each on the untouched predictions. No rules without cases.
    """
    listed = list(tables)
    names = list(listed[0]) if listed else []
    evidence = [_judge_label(name, [table[name] for table in listed]) for name in names]
    rules = tuple(
        Rule(label=entry.label, keep_largest=entry.keep_largest, minimum_ml=entry.minimum_ml)
        for entry in evidence
        if entry.chosen
    )
    return rules, evidence


def _judge_label(name: str, tables: Sequence[LabelTable]) -> RuleEvidence:
    none = Rule(label=name)
    dice_before, found_before = _score_rule(none, tables)
    best, dice_after, found_after = none, dice_before, found_before
    for rule in _list_candidates(name, tables):
        dice, found = _score_rule(rule, tables)
        if found >= found_before and dice > dice_after + SMALLEST_GAIN:
            best, dice_after, found_after = rule, dice, found
    lesions = sum(len(table.reference_sizes_ml) for table in tables)
    return RuleEvidence(
        label=name,
        keep_largest=best.keep_largest,
        minimum_ml=best.minimum_ml,
        chosen=best is not none,
        cases=len(tables),
        dice_before=dice_before,
        dice_after=dice_after,
        lesions=lesions,
        recall_before=found_before / lesions if lesions else None,
        recall_after=found_after / lesions if lesions else None,
        reason=_explain(best, dice_before, dice_after, found_after, lesions, len(tables)),
    )


def _list_candidates(name: str, tables: Sequence[LabelTable]) -> list[Rule]:
    # From the mildest to the strictest, so that the first of equally good ones is the mildest.
    smallest = min(
        (float(table.reference_sizes_ml[-1]) for table in tables if len(table.reference_sizes_ml)), default=0
    )
    minima = sorted({0.0, *MINIMA_ML, *(smallest * share for share in MINIMA_SHARES)})
    rules = [Rule(label=name, keep_largest=largest, minimum_ml=ml) for largest in (False, True) for ml in minima]
    return rules[1:]


def _score_rule(rule: Rule, tables: Sequence[LabelTable]) -> tuple[float, int]:
    """The mean Dice over the cases and the number of reference lesions found, by the components that the rule keeps."""
    dice, found = 0.0, 0
    for table in tables:
        kept = keep_components(table.sizes_ml, rule)
        total = int(table.voxels[kept].sum()) + table.reference_voxels
        dice += 2 * int(table.hits[kept].sum()) / total if total else 1.0
        found += len(np.unique(table.contacts[kept[table.contacts[:, 0]], 1]))
    return dice / len(tables), found


def _explain(rule: Rule, before: float, after: float, found: int, lesions: int, cases: int) -> str:
    parts = ["keeping the largest component"] if rule.keep_largest else []
    parts += [f"removing components below {rule.minimum_ml:.3g} ml"] if rule.minimum_ml else []
    if not parts:
        return f"no rule raises the mean Dice {before:.4f} of {cases} cases without losing a lesion"
    return (
        f"{' and '.join(parts)} raises the mean Dice of {cases} cases from {before:.4f} to {after:.4f}; "
        f"{found} of {lesions} reference lesions are found, no fewer than before"
    )
