"""What the training cases lack, told before training starts."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.core.labels import LabelScheme
from medseg.training.patches.recipe import Source

LISTED = 5  # names in one line


def find_gaps(sources: Sequence[Source], labels: LabelScheme) -> tuple[str, ...]:
    """Lines about labels that cannot be learned and cases that hold none.

    Args:
        sources: the training cases.
        labels: of the plan.
    Returns:
        a line for each label that no training case holds, with its remedy, and one that names the cases without any
        label, which serve as background; nothing where all is there.
    """
    present = [{index for index, voxels in source.locations.items() if len(voxels)} for source in sources]
    everywhere = set[int]().union(*present)
    lines = [
        f"{name!r} is in no training case and cannot be learned: check its value in the masks, or leave it out of the "
        "labels"
        for index, name in enumerate(labels.names)
        if index not in everywhere
    ]
    empty = [source.name for source, found in zip(sources, present, strict=True) if not found]
    if empty and everywhere:
        named = ", ".join(empty[:LISTED]) + (f" and {len(empty) - LISTED} more" if len(empty) > LISTED else "")
        lines.append(
            f"{len(empty)} of {len(sources)} training cases hold no label and serve as background: {named}; check "
            "their masks where that is not so"
        )
    return tuple(lines)
