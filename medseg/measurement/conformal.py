"""Error bars of volumes, learnt from cases whose true volume is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.model import LabelErrors, VolumeStratum

# An interval is to hold the true volume of so many patients.
LEVEL = 0.95
# With fewer patients nothing is said.
LEAST_PATIENTS = 20
# Volumes of different size have errors of their own where each part keeps so many patients: the 2.5 % beyond either
# bound can be told apart from 39 on.
LEAST_IN_STRATUM = 40
# Shares of patients are sums of fractions such as 1/3.
ROUNDING = 1e-9

Edges = tuple[float | None, float | None]


@dataclass(frozen=True)
class VolumePair:
    """One case's volumes of a label, millilitres: as predicted by networks that had not seen the patient, and true."""

    patient: str
    predicted_ml: float
    reference_ml: float


def bound_scores(scores: NDArray[np.float64], patients: Sequence[str], level: float) -> float | None:
    """What the score of a new patient stays at or below with a given probability.

    Args:
        scores: of known cases, (case,); may be infinite.
        patients: whom each case belongs to.
        level: the probability.
    Returns:
        a score: of n patients with a case each the ceil((n + 1) x level)-th smallest. Cases of one patient are not
        independent, so a patient with several counts as one, each case for its share. None where the patients are too
        few for the level.
    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), split conformal prediction; for
        patients with several cases Lee, Barber and Willett, "Distribution-free inference with hierarchical data" (2023,
        arXiv:2306.06342), the hierarchical conformal prediction. It holds for any distribution of the errors as long as
        the new patient is drawn like the known ones.
    """
    _, owner, counts = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    needed = (len(counts) + 1) * level - ROUNDING
    if needed > len(counts):
        return None
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum((1 / counts)[owner][order])
    return float(scores[order][min(int(np.searchsorted(reached, needed)), len(order) - 1)])


def learn_errors(
    label: str, values: Sequence[int], pairs: Sequence[VolumePair], *, level: float = LEVEL, why_none: str = ""
) -> LabelErrors:
    """The errors of one label's volume.

    Args:
        label, values: the class or region, and its values in a mask.
        pairs: of cases that the networks had not seen; a case without the label in its prediction has no ratio.
        level: the share of patients whose true volume the bounds hold.
        why_none: what to say where there is no case at all.
    Returns:
        bounds of true over predicted volume. Predictions are divided by powers of ten of their volume, neighbours put
        together until each part has ``LEAST_IN_STRATUM`` patients. Where the patients suffice, each bound leaves half
        of the rest beyond it; else one factor and its reverse leave all of it. With fewer than ``LEAST_PATIENTS`` none,
        and the reason.
    Source: Romano, Patterson and Candès, "Conformalized Quantile Regression" (2019), theorem 2, for bounds of two
        sides; Vovk et al. (2005), Mondrian conformal prediction, for parts that are told apart by the prediction alone
        (powers of ten, so that the edges do not follow the cases). The masks are those of single folds (cross-conformal
        prediction, Vovk 2015): an average of several folds errs less as a rule, so that its bounds are rather too wide.
    """
    known = [pair for pair in pairs if pair.predicted_ml > 0]
    sizes = [pair.predicted_ml for pair in known]
    count = _count_patients(known)
    strata: list[VolumeStratum] = []
    reason = f"{count} patients with {label} in a mask predicted out of fold, at least {LEAST_PATIENTS} are needed"
    if count >= LEAST_PATIENTS:
        strata = [_learn_stratum(part, *edges, level) for part, edges in _divide(known)]
        reason = ""
    return LabelErrors(
        label=label,
        values=tuple(values),
        strata=tuple(strata),
        reason=reason if pairs else why_none or reason,
        smallest_ml=min(sizes, default=None),
        largest_ml=max(sizes, default=None),
        missed=sum(pair.predicted_ml <= 0 < pair.reference_ml for pair in pairs),
    )


def _divide(pairs: Sequence[VolumePair]) -> list[tuple[list[VolumePair], Edges]]:
    """Cases by the power of ten of their predicted volume, each part with enough patients, and its edges."""
    by_decade: dict[int, list[VolumePair]] = {}
    for pair in pairs:
        by_decade.setdefault(math.floor(math.log10(pair.predicted_ml)), []).append(pair)
    parts: list[tuple[int, list[VolumePair]]] = []
    for decade in sorted(by_decade):
        if parts and _count_patients(parts[-1][1]) < LEAST_IN_STRATUM:
            parts[-1][1].extend(by_decade[decade])
        else:
            parts.append((decade, by_decade[decade]))
    if len(parts) > 1 and _count_patients(parts[-1][1]) < LEAST_IN_STRATUM:
        _, rest = parts.pop()
        parts[-1][1].extend(rest)
    edges = [None, *(10.0**decade for decade, _ in parts[1:]), None]
    return [(part, (start, stop)) for (_, part), start, stop in zip(parts, edges, edges[1:], strict=False)]


def _learn_stratum(
    pairs: Sequence[VolumePair], from_ml: float | None, to_ml: float | None, level: float
) -> VolumeStratum:
    patients = [pair.patient for pair in pairs]
    # A reference without the label is infinitely far below the prediction.
    with np.errstate(divide="ignore"):
        errors = np.log([pair.reference_ml / pair.predicted_ml for pair in pairs])
    half = (1 + level) / 2
    tails: Literal["both", "together", "upper"] = "both"
    below, above = bound_scores(-errors, patients, half), bound_scores(errors, patients, half)
    if below is None or above is None:
        tails, below = "together", bound_scores(np.abs(errors), patients, level)
        above = below
    if above == math.inf:
        tails, below, above = "upper", math.inf, bound_scores(errors, patients, level)
    if below is None or above is None:
        raise ValueError(f"{len(set(patients))} patients are too few for a level of {level}")
    return VolumeStratum(
        from_ml=from_ml,
        to_ml=to_ml,
        patients=_count_patients(pairs),
        cases=len(pairs),
        tails=tails,
        low=math.exp(-below),
        high=math.exp(above),
    )


def _count_patients(pairs: Sequence[VolumePair]) -> int:
    return len({pair.patient for pair in pairs})
