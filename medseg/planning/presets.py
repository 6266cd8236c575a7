"""The table of presets: whose rules a plan follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from medseg.core.registry import Registry
from medseg.planning.configuration import FULL, SLICES, Draft
from medseg.planning.cpu import CPU_TARGET, draft_cpu
from medseg.planning.nnunet import draft_by
from medseg.planning.nnunet_rules import RULES
from medseg.planning.survey import Survey


@dataclass(frozen=True)
class Preset:
    """Whose rules a plan follows.

    Args:
        draft: from a survey, 2 or 3 dimensions and a memory target in GB to drafts by configuration name.
        memory_gb: the target where the user gives none; None where memory is not what limits.
        target: what plans are made for, in words, where it is not a GPU's memory.
        mirrors_sides_only: whether training flips left and right alone.
    """

    draft: Callable[[Survey, Literal[2, 3], float], dict[str, Draft]]
    memory_gb: float | None = None
    target: str | None = None
    mirrors_sides_only: bool = False


PRESETS: Registry[Preset] = Registry("preset")

for _name, _rules in RULES.items():
    PRESETS.add(_name)(Preset(draft_by(_rules), memory_gb=_rules.reference_gb))


def _draft_cpu(survey: Survey, dimensions: Literal[2, 3], gpu_memory_gb: float) -> dict[str, Draft]:
    return {SLICES if dimensions == 2 else FULL: draft_cpu(survey, dimensions, gpu_memory_gb)}


PRESETS.add("cpu")(Preset(_draft_cpu, target=CPU_TARGET, mirrors_sides_only=True))
