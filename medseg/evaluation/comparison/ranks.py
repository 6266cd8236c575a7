"""Which method comes first, and whether it would with other patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg.core.patients import draw_patients


@dataclass(frozen=True, eq=False)
class Ranking:
    """The order of the methods in one metric of one label.

    Args:
        means: the mean over patients of each method's rank within the patient; 1 is best.
        places: the methods' order by that mean; equal means share the better place.
        first: how often each is first in the resamplings, 0 to 1; methods that share the first place share it.
        low, high: between which places each stands in 95 % of the resamplings.
        kendall_tau: how alike the resamplings' orders are to this one, averaged: 1 the same, 0 unrelated, -1 reversed
            (Kendall's tau-b; an order in which all share a place counts 0); None where all methods share one place.
    """

    means: NDArray[np.float64]
    places: NDArray[np.int_]
    first: NDArray[np.float64]
    low: NDArray[np.int_]
    high: NDArray[np.int_]
    kendall_tau: float | None


def rank_methods(values: NDArray[np.float64]) -> Ranking:
    """The order of methods, each patient ranking them, and how it holds when patients are drawn again.

    Args:
        values: (patient, method), lower is better; infinite ones rank last.
    Returns:
        the order and its stability over the resamplings of ``draw_patients``.
    Source: Wiesenfarth et al., Sci Rep 2021;11:2369 (rank, then average; bootstrap of the cases, with patients as units
        here).
    """
    from scipy.stats import rankdata

    within = rankdata(values, axis=1)  # infinite values are equal, the largest
    means = within.mean(axis=0)
    drawn = draw_patients(len(values)) @ within / len(values)
    # Sums of the same numbers in another order differ in their last digits; ranks are half whole numbers.
    drawn, means = np.round(drawn, 9), np.round(means, 9)
    places = rankdata(drawn, method="min", axis=1)
    leading = places == 1
    low, high = np.quantile(places, (0.025, 0.975), axis=0, method="closest_observation")
    return Ranking(
        means,
        rankdata(means, method="min").astype(int),
        (leading / leading.sum(axis=1, keepdims=True)).mean(axis=0),
        low.astype(int),
        high.astype(int),
        _correlate(means, drawn),
    )


def _correlate(order: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """The mean of Kendall's tau-b between one order and each of ``others``, (resampling, method)."""
    first, second = np.triu_indices(order.size, k=1)
    signs = np.sign(order[second] - order[first])
    if not signs.any():
        return None
    drawn = np.sign(others[:, second] - others[:, first])
    untied = np.sqrt(np.abs(signs).sum() * np.abs(drawn).sum(axis=1))
    agreed = drawn @ signs
    return float(np.mean(np.divide(agreed, untied, out=np.zeros_like(agreed), where=untied > 0)))
