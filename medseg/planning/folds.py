"""Which cases train and which validate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.fingerprint import CaseFingerprint


class Fold(TypedDict):
    """The case names of one fold."""

    train: list[str]
    validation: list[str]


def make_folds(cases: Sequence[CaseFingerprint], count: int = 5, seed: int = 12345) -> list[Fold]:
    """Cross-validation folds that never divide a patient.

    Args:
        cases: all cases, in any order.
        count: how many folds; as many as there are patients where those are fewer.
        seed: of the shuffle.
    Returns:
        the folds, each case in exactly one validation list; names sorted.
    Raises:
        PlanError: fewer than two folds or two patients.
    Source: where every case is its own patient, these are nnU-Net's folds: scikit-learn's
        ``KFold(5, shuffle=True, random_state=12345)`` on the sorted names.
    """
    ordered = sorted(cases, key=lambda case: case.case)
    patients = list(dict.fromkeys(case.patient for case in ordered))
    if count < 2:
        raise PlanError(f"{count} folds: cross-validation needs 2 or more", code="bad_folds")
    if len(patients) < 2:
        raise PlanError(
            f"{len(patients)} patient: cross-validation needs 2 or more",
            code="too_few_patients",
            remedy="Add cases of other patients, or train on all cases with --folds all",
        )
    count = min(count, len(patients))
    shuffled = np.arange(len(patients))
    np.random.RandomState(seed).shuffle(shuffled)  # the legacy generator is what scikit-learn shuffles with
    folds: list[Fold] = []
    for part in np.array_split(shuffled, count):
        held_out = {patients[index] for index in part}
        train = [case.case for case in ordered if case.patient not in held_out]
        validation = [case.case for case in ordered if case.patient in held_out]
        folds.append(Fold(train=train, validation=validation))
    return folds
