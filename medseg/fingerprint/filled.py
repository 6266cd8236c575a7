"""Masks that label nearly everything where the others label little: inverted ones, and thresholds gone wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError

# A mask is doubted that labels more than the first share of its image while no other mask labels more than the second.
FILLED, USUAL = 0.6, 0.3
# Fewer other cases say nothing about what is usual.
FEWEST_OTHERS = 2


def find_filled(cases: Sequence[Case], shares: Mapping[str, float]) -> list[DatasetError]:
    """Warnings for masks that label most of their image, which no other case's mask does.

    Args:
        cases: in the order of their names.
        shares: of each case's voxels, how many its mask labels, 0 to 1.
    Returns:
        a warning per such case; empty where several masks label most of their image, as in pictures where every pixel
        belongs to something.
    """
    filled = [case for case in cases if shares[case.name] > FILLED]
    others = [shares[case.name] for case in cases if shares[case.name] <= FILLED]
    if len(others) < FEWEST_OTHERS or len(filled) * FEWEST_OTHERS > len(others) or max(others) > USUAL:
        return []
    return [
        DatasetError(
            f"its mask labels {shares[case.name]:.0%} of the image, the other cases' masks at most {max(others):.0%}",
            code="filled_mask",
            case=case.name,
            file=case.mask.path if case.mask else None,
            remedy="Check that labels and background were not exchanged",
        )
        for case in filled
    ]
