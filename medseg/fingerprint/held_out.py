"""Test cases that were trained on: scans or patients that stand in both parts of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from medseg.core.dataset import Case, Dataset
from medseg.core.errors import DatasetError
from medseg.core.manifest import hash_file


def find_held_out(dataset: Dataset) -> list[DatasetError]:
    """Warnings for test cases that are not held out.

    Args:
        dataset: its usable cases and its test cases; test files are only read where a training file has their size.
    Returns:
        a warning for each test case whose image's file is, byte for byte, one to train on, and for each one of a
        patient who is trained on.
    """
    copies = dict(_find_copies(dataset.cases, dataset.test_cases))
    owners: dict[str, Case] = {}
    for case in dataset.cases:
        owners.setdefault(case.patient, case)
    warnings = []
    for case in dataset.test_cases:
        if case.name in copies:
            reason = f"its image is the file of {copies[case.name].name}, byte for byte, which is trained on"
        elif case.patient in owners:
            reason = f"it is of patient {case.patient}, as {owners[case.patient].name} is, which is trained on"
        else:
            continue
        warnings.append(
            DatasetError(
                f"the test case is not held out: {reason}; its score would be too good",
                code="not_held_out",
                case=case.name,
                file=case.images[0].path,
                remedy="Remove it from one of the two parts",
            )
        )
    return warnings


def _find_copies(cases: Sequence[Case], tests: Sequence[Case]) -> Iterator[tuple[str, Case]]:
    by_size: dict[int, list[Case]] = {}
    for case in cases:
        by_size.setdefault(_size_of(case.images[0].path), []).append(case)
    for test in tests:
        path = test.images[0].path
        alike = by_size.get(_size_of(path), []) if _size_of(path) > 0 else []
        digest = hash_file(path) if alike else ""
        same = next((case for case in alike if hash_file(case.images[0].path) == digest), None)
        if same is not None:
            yield test.name, same


def _size_of(path: Path) -> int:
    # What is no plain file is never opened here: a pipe would wait for ever.
    return path.stat().st_size if path.is_file() else 0
