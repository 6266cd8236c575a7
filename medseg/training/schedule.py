"""How long training lasts and how the learning rate goes down."""

from __future__ import annotations

import math
import re

from medseg.core.errors import PlanError
from medseg.core.plan import TrainingPlan

POLYNOMIAL_EXPONENT = 0.9  # nnU-Net's
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds in a duration such as ``90s``, ``15m``, ``2h`` or ``1h30m``.

    Args:
        text: numbers with units, from the largest to the smallest.
    Returns:
        seconds, above 0.
    Raises:
        PlanError: the text is not a duration.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise PlanError(f"{text!r} is not a duration", remedy="Write it as 90s, 15m, 2h or 1h30m")
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise PlanError(f"{text!r} is no time at all", remedy="Write it as 90s, 15m, 2h or 1h30m")
    return seconds


def format_duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``12 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def learning_rate(step: int, share_done: float, settings: TrainingPlan) -> float:
    """The learning rate of a step.

    Args:
        step: counted from 0; the warm-up goes by it.
        share_done: how much of the schedule is over, 0 to 1; the decay goes by it.
        settings: highest rate, schedule and warm-up.
    Returns:
        ``learning_rate`` times the ramp, times ``(1 - share) ** 0.9`` or ``(1 + cos(pi share)) / 2``.
    Source: Chen et al., "DeepLab" (2018) with nnU-Net's exponent; Loshchilov and Hutter, "SGDR" (2017), no restarts.
    """
    share = min(1.0, max(0.0, share_done))
    decay: float = (1 - share) ** POLYNOMIAL_EXPONENT
    if settings.schedule == "cosine":
        decay = (1 + math.cos(math.pi * share)) / 2
    ramp = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    return settings.learning_rate * decay * ramp
