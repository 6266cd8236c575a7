"""How long training lasts and how the learning rate goes down."""

from __future__ import annotations

import re

from medseg.core.errors import PlanError

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


def learning_rate(step: int, total: int | None, start: float, *, warm_up_steps: int) -> float:
    """The learning rate of a step.

    Args:
        step: counted from 0.
        total: all steps; None while the time of a step is still being measured.
        start: the rate to decay from.
        warm_up_steps: over which the rate rises to it; 0 for none.
    Returns:
        ``start (1 - step / total) ** 0.9``, times the ramp.
    """
    decay = 1.0 if total is None else (1 - min(step, total) / total) ** POLYNOMIAL_EXPONENT
    ramp = min(1.0, (step + 1) / max(1, warm_up_steps))
    return start * decay * ramp


def fit_steps(seconds: float, seconds_per_step: float) -> int:
    """How many whole steps fit into a time; 0 where none does."""
    return int(seconds / seconds_per_step)
