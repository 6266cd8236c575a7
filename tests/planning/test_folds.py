"""Folds: nnU-Net's, and never a patient on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.core.errors import PlanError
from medseg.core.fingerprint import CaseFingerprint
from medseg.planning import make_folds


def make_cases(patients: list[str]) -> list[CaseFingerprint]:
    """A case per entry, called case_000, case_001, ..., of that patient."""
    return [
        CaseFingerprint(
            case=f"case_{index:03d}",
            patient=patient,
            day=None,
            shape=(8, 8, 8),
            spacing_mm=(1.0, 1.0, 1.0),
            cropped_shape=(8, 8, 8),
            label_ml={},
        )
        for index, patient in enumerate(patients)
    ]


def numbers(names: list[str]) -> list[int]:
    """case_007 -> 7."""
    return [int(name.removeprefix("case_")) for name in names]


# scikit-learn 1.9.1: [test.tolist() for _, test in KFold(5, shuffle=True, random_state=12345).split(range(n))]
SKLEARN = {
    5: [[0], [4], [3], [1], [2]],
    7: [[3, 6], [0, 4], [1], [5], [2]],
    24: [[8, 10, 12, 18, 20], [0, 3, 14, 15, 17], [7, 11, 13, 16, 19], [6, 9, 21, 22, 23], [1, 2, 4, 5]],
}


@pytest.mark.parametrize("count", sorted(SKLEARN))
def test_they_are_the_folds_of_nnunet(count: int) -> None:
    """With a patient a case: scikit-learn's KFold with nnU-Net's seed."""
    folds = make_folds(make_cases([f"p{index}" for index in range(count)]))
    assert [numbers(fold["validation"]) for fold in folds] == SKLEARN[count]


@given(st.lists(st.sampled_from([f"p{index}" for index in range(12)]), min_size=2, max_size=40), st.integers(2, 6))
def test_every_case_validates_once_and_no_patient_is_divided(patients: list[str], count: int) -> None:
    """For any assignment of cases to patients and any order of the cases."""
    if len(set(patients)) < 2:
        return
    cases = make_cases(patients)
    folds = make_folds(cases, count)
    assert folds == make_folds(cases[::-1], count)
    assert len(folds) == min(count, len(set(patients)))
    assert sorted(name for fold in folds for name in fold["validation"]) == [case.case for case in cases]
    owner = {case.case: case.patient for case in cases}
    for fold in folds:
        assert sorted(fold["train"] + fold["validation"]) == [case.case for case in cases]
        assert fold["train"]
        assert fold["validation"]
        assert not {owner[name] for name in fold["train"]} & {owner[name] for name in fold["validation"]}


def test_one_patient_cannot_be_cross_validated() -> None:
    """Nor can one fold."""
    with pytest.raises(PlanError, match="1 patient"):
        make_folds(make_cases(["p", "p", "p"]))
    with pytest.raises(PlanError, match="1 folds"):
        make_folds(make_cases(["a", "b"]), count=1)
