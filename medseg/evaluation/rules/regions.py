"""What a challenge's rules are, and the regions it scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from medseg.core.labels import LabelScheme
from medseg.evaluation.metrics import Metric


@dataclass(frozen=True)
class Region:
    """A region that a challenge scores.

    Args:
        parts: the classes it unites, by the names of ``Rules.parts``.
        tolerance_mm: how far its surface may lie off, for NSD; None where the challenge does not say.
    """

    parts: tuple[str, ...]
    tolerance_mm: float | None = None


@dataclass(frozen=True)
class Rules:
    """How a challenge scores.

    Args:
        name: what ``--rules`` takes.
        source: who published it, and where.
        metrics: each with the challenge's own policy for empty masks.
        parts: the classes of the challenge's masks, and the value of each there.
        regions: what is scored of them, by name; every label as it is where there are none.
        synonyms: other names of a class, to its name in ``parts``.
    """

    name: str
    source: str
    metrics: tuple[Metric, ...]
    parts: Mapping[str, int] = field(default_factory=dict)
    regions: Mapping[str, Region] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)


def settle_regions(labels: LabelScheme, rules: Rules) -> LabelScheme:
    """The labels to score under a challenge's rules.

    Args:
        labels: of the masks.
        rules: the challenge's.
    Returns:
        the challenge's regions, where the labels name all their parts, or where nothing named the labels (they are
        called ``label_N``) and their values are just the challenge's; else the labels as they are, with the challenge's
        tolerances where they bear a region's name.
    """
    values = _find_parts(labels, rules)
    tolerances = {name: region.tolerance_mm for name, region in rules.regions.items() if region.tolerance_mm}
    if not rules.regions or values is None:
        known = {name: value for name, value in tolerances.items() if name in labels.labels}
        return labels.model_copy(update={"tolerance_mm": known | labels.tolerance_mm})
    ignored = {"ignore": labels.ignore} if labels.ignore is not None else {}
    united = {name: [values[part] for part in region.parts] for name, region in rules.regions.items()}
    return LabelScheme.make({**united, **ignored}, tolerance_mm=tolerances or None)


def _find_parts(labels: LabelScheme, rules: Rules) -> dict[str, int] | None:
    """The value of each part; None where one is missing."""
    single = {name.lower(): values[0] for name, values in labels.labels.items() if len(values) == 1}
    if single and all(name == f"label_{value}" for name, value in single.items()):
        return dict(rules.parts) if set(single.values()) == set(rules.parts.values()) else None
    found = {rules.synonyms.get(name, name): value for name, value in single.items()}
    return {part: found[part] for part in rules.parts} if rules.parts.keys() <= found.keys() else None
