"""Masks that look mirrored or transposed: a content check against the image and against the other cases.

A mask whose array was flipped has a header that agrees with its image, so that nothing but its content shows it. Which
of a mask's possible placements fits is learnt from the data set itself: most masks lie right. A conditional logistic
regression weighs how the image looks under the mask and where the mask lies, trained on the other cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError
from medseg.fingerprint.placements import LOOKS, Placement, Placements

# Fewer cases teach nothing about where masks lie.
FEWEST_CASES = 8
# A label that fewer cases have says nothing about the others.
FEWEST_WITH_LABEL = 5
# As heavy tails as Student's t with so many degrees of freedom: an unusual patient is no proof.
FREEDOM = 4.0
RIDGE, FOLDS, STEPS = 1.0, 10, 30
# Where the places of left-out masks are this clear (mean log loss), as those of organs are, odds may grow further.
CLEAR, CLEAR_RIDGE = 0.1, 0.1
# How often the weights are learnt, each time without the masks whose log odds spoke against them by more than this.
ROUNDS, DOUBT = 3, 2.0
# All masks are doubted where one placement is better for at least the first share of them and worse for at most the
# second. Of masks that lie right it is better for 0 to 8 % (hippocampus, sarcoma in MR; 40 % of 10 in PET) and worse
# for 63 to 99 % in the MR sets, where mirroring all of them turns these numbers round.
MOST_BETTER, FEW_WORSE = 0.6, 0.1
# A mask is doubted where another placement is so many times likelier, times the number of cases: on data like those
# that it was learnt from, less than one false alarm in as many data sets.
ODDS = 10.0


def find_mirrored(cases: Sequence[Case], found: Mapping[str, Placements]) -> list[DatasetError]:
    """Warnings for masks that would fit their images, as the other cases' masks do, if they were mirrored.

    Args:
        cases: in the order of their names.
        found: what each case's image shows under its mask, by name.
    Returns:
        a warning per case; empty where there are fewer than 8 cases. Never a refusal: an unusual anatomy, such as
        organs on the other side, looks the same, and only somebody who looks at the image can tell.
    """
    known = [case for case in cases if case.name in found]
    if len(known) < FEWEST_CASES:
        return []
    rows = [found[case.name] for case in known]
    evidence = gather_evidence(rows)
    warnings = []
    for case, placements, scores in zip(known, rows, score_placements(evidence), strict=True):
        best = int(scores.argmax())
        margin = float(scores[best] - scores[0])
        if best and margin > math.log(ODDS * len(known)):
            warnings.append(_warn(case, placements.ways[best], margin))
    return warnings


def note_all_mirrored(found: Sequence[Placements]) -> tuple[str, ...]:
    """A line where the masks of a whole data set fit their images better in another placement, the same for all.

    One conversion that forgets an orientation mirrors every mask alike, and then the cases agree with one another. So
    this asks the images alone: whether they change at a mask's border, and differ on its two sides.

    Args:
        found: of all cases.
    Returns:
        a line for the placement that suits the most cases; empty where they lie right, or too few say anything.
    """
    if len(found) < FEWEST_CASES:
        return ()
    edge, apart = LOOKS.index("edge"), LOOKS.index("apart")
    best: tuple[int, str] = (0, "")
    for way in found[0].ways[1:]:
        signs = [_compare(row, row.ways.index(way), edge, apart) for row in found if way in row.ways]
        better, worse = signs.count(1), signs.count(-1)
        if better >= MOST_BETTER * len(found) and worse <= FEW_WORSE * len(found):
            best = max(best, (better, way.describe()))
    if not best[0]:
        return ()
    return (
        f"All masks look wrongly placed: {best[1]}, {best[0]} of {len(found)} would follow their images better."
        " Look at some of them on their images before training",
    )


def _compare(row: Placements, number: int, *kinds: int) -> int:
    """1 where a placement shows more of every kind than the mask as it lies, -1 where less, 0 where they disagree."""
    shown = np.abs(row.looks[[0, number]])[..., kinds]
    shown[..., 0] = row.looks[[0, number]][..., kinds[0]]  # the logarithm of a ratio, below 0 where there is no edge
    here, there = _mean(shown, (1, 2))
    return int((there > here).all()) - int((there < here).all())


def _warn(case: Case, way: Placement, margin: float) -> DatasetError:
    return DatasetError(
        f"its mask looks wrongly placed: {way.describe()} it would fit the image as the other cases' masks do"
        f" (odds {math.exp(min(margin, 20)):.0f} to 1)",
        code="mirrored_mask",
        case=case.name,
        file=case.mask.path if case.mask else None,
        remedy="Look at the mask on its image; if it is right, nothing is to be done, the case is used",
    )


def gather_evidence(rows: Sequence[Placements]) -> list[NDArray[np.float64]]:
    """For each case what speaks for each placement, (placement, kind of evidence): the likelier, the larger.

    Args:
        rows: of all cases.
    Returns:
        per case: how usual looks and places are among the cases' masks as they lie, and how well borders follow edges;
        0 where nothing is known.
    """
    looks, places, vectors = [row.looks for row in rows], [row.places for row in rows], [_vectors(row) for row in rows]
    usual = [_usual(looks), _usual(places), _usual(vectors)]
    signs = np.sign(np.nan_to_num(_median([look[0] for look in looks])))
    found = []
    for number, look in enumerate(looks):
        directed = look[..., 2:] * signs[..., 2:]
        directed[..., 1] = look[..., 3]  # an edge is never negative
        kinds = [
            *np.moveaxis(_mean(usual[0][number], (1, 2)), -1, 0),
            _mean(usual[1][number], (1, 2)),
            _mean(usual[2][number], (1, 2)),
            *np.moveaxis(_mean(directed, (1, 2)), -1, 0),
            _mean(np.abs(look[..., LOOKS.index("apart")]), (1, 2)),
            _mean(np.abs(look[..., LOOKS.index("coherence")]), (1, 2)),
        ]
        found.append(np.nan_to_num(np.stack(kinds, axis=-1)))
    spread = np.concatenate(found).std(axis=0) + 1e-6
    return [(rows - rows[:1]) / spread for rows in found]


def _vectors(row: Placements) -> NDArray[np.float64]:
    """From each label's centre to the next one's, (placement, pair, axis), in units of the mask's size."""
    return np.diff(row.places, axis=1) * row.size


def _median(first: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(first)
    known = np.isfinite(stacked).sum(axis=0) >= FEWEST_WITH_LABEL
    filled = np.where(np.isfinite(stacked).any(axis=0), stacked, 0.0)
    return np.where(known, np.nanmedian(filled, axis=0), np.nan)


def _usual(values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """How likely each number is among those of masks as they lie: Student's log density about their median."""
    first = [value[0] for value in values]
    if first[0].size == 0:
        return [np.zeros_like(value) for value in values]
    middle = _median(first)
    spread = 1.4826 * _median([np.abs(value - middle) for value in first]) + 1e-3
    return [-np.log1p(((value - middle) / spread) ** 2 / FREEDOM) for value in values]


def _mean(values: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    counts = known.sum(axis=axes)
    sums = np.where(known, values, 0.0).sum(axis=axes)
    return np.asarray(sums / np.maximum(counts, 1))


def score_placements(evidence: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """The log odds of each placement of each mask, learnt from the other cases.

    Args:
        evidence: as ``gather_evidence`` gives it.
    Returns:
        per case, (placement), up to a constant.
    """
    scores: list[NDArray[np.float64]] = [np.zeros(1)] * len(evidence)
    for _ in range(ROUNDS):
        # Masks that look wrong must not teach what is right.
        trusted = [float(rows.max() - rows[0]) <= DOUBT for rows in scores]
        scores = _cross_fit(evidence, trusted, RIDGE)
        if _lost(scores, trusted) < CLEAR:
            scores = _cross_fit(evidence, trusted, CLEAR_RIDGE)
    return scores


def _cross_fit(
    evidence: Sequence[NDArray[np.float64]], trusted: Sequence[bool], ridge: float
) -> list[NDArray[np.float64]]:
    folds = min(FOLDS, len(evidence))
    scores: list[NDArray[np.float64]] = [np.zeros(1)] * len(evidence)
    for fold in range(folds):
        others = [rows for number, rows in enumerate(evidence) if number % folds != fold and trusted[number]]
        weights = _fit(others, ridge) if others else np.zeros(evidence[0].shape[1])
        for number in range(fold, len(evidence), folds):
            scores[number] = evidence[number] @ weights
    return scores


def _lost(scores: Sequence[NDArray[np.float64]], trusted: Sequence[bool]) -> float:
    """The mean log loss of the masks that are trusted: 0 where each is certain to lie right."""
    lost = [np.logaddexp.reduce(rows - rows[0]) for rows, trust in zip(scores, trusted, strict=True) if trust]
    return float(np.mean(lost)) if lost else math.inf


def _fit(evidence: Sequence[NDArray[np.float64]], ridge: float) -> NDArray[np.float64]:
    """Weights by which the placement as it lies is chosen among all; Newton's method with a ridge."""
    size = max(len(rows) for rows in evidence)
    kinds = evidence[0].shape[1]
    table, there = np.zeros((len(evidence), size, kinds)), np.zeros((len(evidence), size), bool)
    for number, rows in enumerate(evidence):
        table[number, : len(rows)], there[number, : len(rows)] = rows, True
    used, weights = np.ones(kinds, bool), np.zeros(kinds)
    while used.any():
        weights[used] = _climb(table[..., used], there, ridge)
        # All evidence is such that more of it speaks for a placement; weights below 0 would be chance.
        if (weights >= 0).all():
            break
        used &= weights >= 0
        weights[~used] = 0
    return weights


def _climb(table: NDArray[np.float64], there: NDArray[np.bool_], ridge: float) -> NDArray[np.float64]:
    kinds = table.shape[-1]
    weights = np.zeros(kinds)
    for _ in range(STEPS):
        odds = np.where(there, table @ weights, -np.inf)
        shares = np.exp(odds - odds.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        means = np.einsum("np,npk->nk", shares, table)
        slope = (table[:, 0] - means).sum(axis=0) - ridge * weights
        flat = (table * np.sqrt(shares)[..., None]).reshape(-1, kinds)
        curvature = flat.T @ flat - means.T @ means + ridge * np.eye(kinds)
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < 1e-6:
            break
    return weights
