"""Coefficients of agreement of several raters, with intervals: intraclass correlation, concordance."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["1,1", "2,1", "3,1"]
"""Which intraclass correlation of single ratings, as Shrout and Fleiss count them.

``1,1``: each target has raters of its own. ``2,1``: the same raters, drawn from many, rate each target, and a rater who
is always higher disagrees (absolute agreement). ``3,1``: these very raters, whose constant differences do not count
(consistency).
"""

# 95 % of a normal distribution lie within so many standard deviations.
NORMAL = 1.959963984540054
# Two targets leave a single degree of freedom; the interval of three is -1 to 1 nearly always.
LEAST_TARGETS = 4


def measure_icc(values: NDArray[np.float64], kind: Kind, *, bounded: bool = True) -> dict[str, Any] | None:
    """The intraclass correlation of single ratings, with its 95 % interval.

    Args:
        values: (target, rater), finite; at least two raters.
        kind: ``1,1``, ``2,1`` or ``3,1``.
        bounded: whether the interval is wanted; it holds for independent targets alone.
    Returns:
        ``{"value", "low", "high"}``, low and high None where not wanted; None below ``LEAST_TARGETS`` targets, or where
        all values (for ``3,1``: all targets) are the same.
    Source: Shrout and Fleiss, Psychol Bull 1979;86:420-428; intervals of McGraw and Wong, Psychol Methods 1996;1:30-46,
        table 7.
    """
    n, k = values.shape
    if n < LEAST_TARGETS or not np.ptp(values):
        return None
    targets, raters, residual, within = _mean_squares(values)
    if kind == "3,1" and not (targets or residual):
        return None  # the targets differ in nothing
    if kind == "1,1":
        value = (targets - within) / (targets + (k - 1) * within)
        bounds = _bound_ratio(targets, within, n - 1, n * (k - 1), k)
    elif kind == "3,1":
        value = (targets - residual) / (targets + (k - 1) * residual)
        bounds = _bound_ratio(targets, residual, n - 1, (n - 1) * (k - 1), k)
    else:
        value = (targets - residual) / (targets + (k - 1) * residual + k * (raters - residual) / n)
        bounds = _bound_absolute(values.shape, targets, raters, residual, value)
    low, high = bounds if bounded else (None, None)
    return {"value": float(value), "low": low, "high": high}


def measure_ccc(first: NDArray[np.float64], second: NDArray[np.float64], *, bounded: bool = True) -> Any:
    """Lin's concordance correlation coefficient, with its 95 % interval.

    Args:
        first, second: the two ratings of each target, finite.
        bounded: whether the interval is wanted; it holds for independent targets alone.
    Returns:
        ``{"value", "low", "high"}``, low and high None where not wanted or not defined (no correlation at all); None
        below ``LEAST_TARGETS`` targets, or where all values are the same.
    Source: Lin, Biometrics 1989;45:255-268, with the variance as corrected in Biometrics 2000;56:324-325.
    """
    n = first.size
    if n < LEAST_TARGETS or not np.ptp([*first, *second]):
        return None
    shift = float(first.mean() - second.mean())
    spreads, covariance = first.var() * second.var(), float(np.mean((first - first.mean()) * (second - second.mean())))
    value = 2 * covariance / float(first.var() + second.var() + shift**2)
    low = high = None
    if bounded and spreads > 0 and covariance:
        low, high = _bound_ccc(value, covariance / math.sqrt(spreads), shift**2 / math.sqrt(spreads), n)
    return {"value": value, "low": low, "high": high}


def _mean_squares(values: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Between targets, between raters, what is left, and within targets."""
    n, k = values.shape
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    targets = k * float(((rows - mean) ** 2).sum()) / (n - 1)
    raters = n * float(((columns - mean) ** 2).sum()) / (k - 1)
    left = float(((values - rows[:, None] - columns[None] + mean) ** 2).sum())
    within = float(((values - rows[:, None]) ** 2).sum()) / (n * (k - 1))
    squares = (targets, raters, left / ((n - 1) * (k - 1)), within)
    noise = (1e-14 * float(np.abs(values).max())) ** 2  # what rounding leaves of a variance that is 0
    first, second, third, fourth = (square if square > noise else 0.0 for square in squares)
    return first, second, third, fourth


def _bound_ratio(between: float, error: float, upper: float, lower: float, k: int) -> tuple[float, float]:
    """From the interval of a ratio of two mean squares with ``upper`` and ``lower`` degrees of freedom."""
    from scipy.special import fdtri

    if not error:
        return 1.0, 1.0
    ratio = between / error
    low, high = ratio / float(fdtri(upper, lower, 0.975)), ratio * float(fdtri(lower, upper, 0.975))
    return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)


def _bound_absolute(
    shape: tuple[int, ...], targets: float, raters: float, residual: float, value: float
) -> tuple[float, float]:
    from scipy.special import fdtri

    n, k = shape
    if not residual and not raters:
        return 1.0, 1.0
    if value >= 1 or not (targets or residual):
        return float(value), float(value)
    # Satterthwaite's degrees of freedom of the raters' and the residual variance together.
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    parts = (a * raters) ** 2 / (k - 1) + (b * residual) ** 2 / ((n - 1) * (k - 1))
    freedom = (a * raters + b * residual) ** 2 / parts if parts else 1.0
    above, below = float(fdtri(n - 1, freedom, 0.975)), float(fdtri(freedom, n - 1, 0.975))
    errors = k * raters + (k * n - k - n) * residual
    low = n * (targets - above * residual) / (above * errors + n * targets)
    high = n * (below * targets - residual) / (errors + n * below * targets)
    return low, high


def _bound_ccc(value: float, correlation: float, shift: float, count: int) -> tuple[float | None, float | None]:
    """By Fisher's transformation; ``shift`` is the squared difference of the means over the standard deviations."""
    if abs(value) >= 1:
        return value, value
    r, c = correlation**2, value**2
    variance = (
        (1 - r) * c / ((1 - c) * r)
        + 2 * value**3 * (1 - value) * shift / (correlation * (1 - c) ** 2)
        - c**2 * shift**2 / (2 * r * (1 - c) ** 2)
    ) / (count - 2)
    if variance < 0:
        return None, None
    half, centre = NORMAL * math.sqrt(variance), math.atanh(value)
    return math.tanh(centre - half), math.tanh(centre + half)
