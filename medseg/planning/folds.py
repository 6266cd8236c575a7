"""Which cases train and which validate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.fingerprint import CaseFingerprint


class Fold(TypedDict):
    """The case names of one fold; ``divides_patients`` where somebody wants scans of a patient on both sides."""

    train: list[str]
    validation: list[str]
    divides_patients: NotRequired[bool]


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
    return split_patients({case.case: case.patient for case in cases}, count, seed)


def split_patients(owners: Mapping[str, str], count: int = 5, seed: int = 12345) -> list[Fold]:
    """As ``make_folds``, from the patient of each case's name."""
    ordered = sorted(owners)
    patients = list(dict.fromkeys(owners[name] for name in ordered))
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
        train = [name for name in ordered if owners[name] not in held_out]
        validation = [name for name in ordered if owners[name] in held_out]
        folds.append(Fold(train=train, validation=validation))
    return folds
