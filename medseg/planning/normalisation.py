"""How each channel's intensities are made comparable."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint, IntensityStatistics
from medseg.core.plan import NormalisationPlan

Scheme = Literal["ct", "zscore", "rescale_to_01", "rgb_to_01", "none"]

# The channel names that ask for a scheme, as in nnU-Net; every other name is z-scored.
SCHEMES: dict[str, Scheme] = {
    "ct": "ct",
    "nonorm": "none",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_to_01",
    "rgb_to_0_1": "rgb_to_01",
}
# Where cropping to non-zero leaves less than this share of the voxels (skull-stripped brains), the many zeros outside
# would rule mean and sd. Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2.
CROPPED_SHARE_FOR_MASK = 0.75
SMALLEST_SD = 1e-8


def choose_normalisation(
    fingerprint: Fingerprint, window_hu: Sequence[float] | None = None
) -> tuple[tuple[NormalisationPlan, ...], str]:
    """The normalisation of every channel, and why.

    Args:
        fingerprint: the data set's fingerprint.
        window_hu: the lowest and highest HU that CT channels are clipped to, in place of the planner's choice.
    Returns:
        a plan per channel in order, and the reason, one sentence a channel.
    Raises:
        PlanError: a window that is none, or no channel is CT.
    Source: Isensee et al., Nature Methods 18 (2021), supplementary note 2; the window is ours.
    """
    plans, reasons = [], []
    for channel, statistics in zip(fingerprint.channels, fingerprint.intensities, strict=True):
        plan, reason = _choose(channel, statistics, fingerprint.cropped_share)
        if plan.scheme == "ct" and window_hu is not None:
            plan, reason = _clip_to(plan, channel, read_window(window_hu))
        plans.append(plan)
        reasons.append(reason)
    if window_hu is not None and all(plan.scheme != "ct" for plan in plans):
        raise PlanError(
            f"a window in HU for {', '.join(fingerprint.channels)}, of which none is CT",
            code="bad_window",
            remedy="Leave --window-hu out, or name the channel with --channels CT",
        )
    return tuple(plans), " ".join(reasons)


def read_window(window_hu: Sequence[float]) -> tuple[float, float]:
    """The user's window, lowest and highest HU; raises PlanError where it is not two rising numbers."""
    values = [float(value) for value in window_hu]
    if len(values) != 2 or not all(map(math.isfinite, values)) or values[0] >= values[1]:
        raise PlanError(
            f"window {', '.join(f'{value:g}' for value in values) or 'without numbers'}: expected the lowest and the "
            "highest HU",
            code="bad_window",
            remedy="Give for example --window-hu -160 240",
        )
    return values[0], values[1]


def _clip_to(plan: NormalisationPlan, channel: str, window_hu: tuple[float, float]) -> tuple[NormalisationPlan, str]:
    low, high = window_hu
    return plan.model_copy(update={"low": low, "high": high}), (
        f"{channel}: clipped to {low:g} to {high:g} HU as asked for, in place of {plan.low:g} to {plan.high:g} "
        f"(0.5 and 99.5 % of the foreground), and scaled by mean {plan.mean:.4g}, sd {plan.sd:.4g} of the foreground."
    )


def find_scheme(channel: str) -> Scheme:
    """The scheme that a channel's name asks for; ``CT_1``, ``CT_2`` are CT like ``CT``."""
    return SCHEMES.get(
        re.sub(r"_\d+$", "", channel.casefold()) if channel[:2].casefold() == "ct" else channel.casefold(), "zscore"
    )


def _choose(channel: str, statistics: IntensityStatistics, cropped_share: float) -> tuple[NormalisationPlan, str]:
    scheme = find_scheme(channel)
    if scheme == "ct":
        plan = NormalisationPlan(
            scheme="ct",
            mean=statistics.mean,
            sd=max(statistics.sd, SMALLEST_SD),
            low=statistics.percentile_00_5,
            high=statistics.percentile_99_5,
        )
        return plan, (
            f"{channel}: Hounsfield units are the same in every scan, so all are clipped to {plan.low:g} "
            f"to {plan.high:g} (0.5 and 99.5 % of the foreground) and scaled by mean {plan.mean:.4g}, sd {plan.sd:.4g}."
        )
    if scheme != "zscore":
        return NormalisationPlan(scheme=scheme), f"{channel}: the channel's name asks for {scheme}."
    inside = cropped_share < CROPPED_SHARE_FOR_MASK
    kept = (
        f"cropping to non-zero leaves {100 * cropped_share:.0f} % of a scan (limit {100 * CROPPED_SHARE_FOR_MASK:g} %)"
    )
    where = f"its voxels that are not zero, since {kept}" if inside else f"all of its voxels, since {kept}"
    return NormalisationPlan(scheme="zscore", inside_mask=inside), (
        f"{channel}: not CT, so intensities have no fixed scale and each scan takes mean and sd from {where}."
    )
