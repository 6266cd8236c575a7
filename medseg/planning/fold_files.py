"""Folds on disk: those that the planner made, and those that somebody gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.core import atomic
from medseg.core.dataset import read_dataset
from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.manifest import CaseOutcome, hash_file
from medseg.core.records import read_json, write_json
from medseg.core.workspace import Workspace
from medseg.planning.folds import Fold

SHOWN = 5  # names in a message
DIVIDES = "divides_patients"


def read_folds(space: Workspace) -> list[Fold]:
    """A workspace's folds, ``W/folds.json``, whoever wrote them.

    Args:
        space: with folds; they are held to the cases of its data set and fingerprint where these are noted.
    Returns:
        the folds; empty for a data set that cannot be cross-validated.
    Raises:
        PlanError: there are none yet, or one is not usable: an unknown case, one on both sides, a divided patient.
        FormatError: the file is damaged.
    """
    if not space.folds.is_file():
        remedy = f"Run medseg plan DATASET --workspace {space.root} first"
        raise PlanError("there are no folds yet", code="no_folds", file=space.folds, remedy=remedy)
    return parse_folds(read_json(space.folds), list_patients(space), file=space.folds)


def list_patients(space: Workspace) -> dict[str, str]:
    """The patient of every case that the workspace knows of; empty where neither data set nor fingerprint is noted."""
    found: dict[str, str] = {}
    if space.fingerprint.is_file():
        found |= {case.case: case.patient for case in Fingerprint.read(space.fingerprint).cases}
    if space.cases.is_file():
        found |= {case.name: case.patient for case in read_dataset(space.cases).cases}
    return found


def take_folds(
    space: Workspace, path: str | Path, outcomes: Sequence[CaseOutcome], *, divide_patients: bool = False
) -> list[Fold]:
    """Given folds, such as nnU-Net's ``splits_final.json``.

    Args:
        space: with a fresh fingerprint.
        path: the file.
        outcomes: of that fingerprint; cases that it refused may be named and are left out.
        divide_patients: let scans of one patient stand in training and validation of the same fold.
    Returns:
        the folds.
    Raises:
        PlanError: there is no fold, or one is not usable.
        FormatError: the file is missing or damaged.
    """
    content, patients = read_json(Path(path)), list_patients(space)
    if content == []:
        raise PlanError("there is no fold in it", code="bad_folds", file=path)
    refused = {outcome.case for outcome in outcomes} - set(patients)
    return parse_folds(content, patients, refused=refused, divide_patients=divide_patients, file=Path(path))


def parse_folds(
    content: Any,
    patients: Mapping[str, str],
    *,
    refused: Collection[str] = (),
    divide_patients: bool = False,
    file: Path | None = None,
) -> list[Fold]:
    """Folds as a file holds them, held to the cases that there are.

    Args:
        content: a list of ``{"train": [...], "validation": [...]}``; nnU-Net's ``val`` will do.
        patients: of every case; empty where the cases are not known, and then names are not checked.
        refused: names to leave out.
        divide_patients: let scans of one patient stand on both sides of a fold.
        file: for messages.
    Returns:
        the folds.
    Raises:
        PlanError: not such a list, an unknown case, a case twice, a side without cases, a patient on both sides.
    """
    if not isinstance(content, list):
        raise PlanError(
            f"{type(content).__name__}, expected a list of folds", code="bad_folds", file=file,
            remedy='Write [{"train": [...], "validation": [...]}, ...]',
        )  # fmt: skip
    found = []
    for number, entry in enumerate(content):
        try:
            fold = _parse_fold(entry)
            fold = Fold(
                train=[name for name in fold["train"] if name not in refused],
                validation=[name for name in fold["validation"] if name not in refused],
            )
            _check_names(fold, patients)
            if divide_patients or entry.get(DIVIDES) is True:
                fold["divides_patients"] = True
            else:
                _check_patients(fold, patients)
        except PlanError as error:
            remedy = error.remedy or "Correct the file, or remove it and plan again"
            raise PlanError(f"fold {number}: {error.reason}", code="bad_folds", file=file, remedy=remedy) from None
        found.append(fold)
    return found


def write_folds(space: Workspace, folds: Sequence[Fold], *, given: bool) -> None:
    """Write ``W/folds.json``.

    Args:
        space: the workspace.
        folds: to write.
        given: whether somebody gave them; those that the planner made are made anew when the data set changes, so their
            hash is noted in ``W/folds.sha256``.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    write_json(space.folds, list(folds))
    if given:
        _hash_path(space).unlink(missing_ok=True)
    else:
        atomic.write_text(_hash_path(space), hash_file(space.folds))


def were_given(space: Workspace) -> bool:
    """Whether the folds that stand in a workspace are not as the planner wrote them; False where there are none."""
    if not space.folds.is_file():
        return False
    noted = _hash_path(space)
    return not noted.is_file() or noted.read_text("utf-8").strip() != hash_file(space.folds)


def _hash_path(space: Workspace) -> Path:
    return space.root / "folds.sha256"


def _parse_fold(entry: Any) -> Fold:
    if not isinstance(entry, dict):
        raise PlanError(f"{type(entry).__name__}, expected train and validation")
    unknown = set(entry) - {"train", "validation", "val", DIVIDES}
    if unknown or "train" not in entry or ("val" in entry) == ("validation" in entry):
        keys = ", ".join(map(str, entry)) or "none"
        raise PlanError(f"it has the keys {keys}, expected train and validation")
    sides = [entry["train"], entry["validation"] if "validation" in entry else entry["val"]]
    for side in sides:
        if not isinstance(side, list) or not all(isinstance(name, str) for name in side):
            raise PlanError("train and validation are not lists of case names")
    return Fold(train=sides[0], validation=sides[1])


def _check_names(fold: Fold, patients: Mapping[str, str]) -> None:
    named = fold["train"] + fold["validation"]
    unknown = [name for name in named if name not in patients]
    if patients and unknown:
        raise PlanError(f"the data set has no case {_list(unknown)}")
    twice = [name for name, times in Counter(named).items() if times > 1]
    if twice:
        raise PlanError(f"{_list(twice)} stands in it twice")
    if not fold["train"] or not fold["validation"]:
        side = "validation" if fold["train"] else "training"
        raise PlanError(f"it has no {side} case", remedy="Leave the fold out; --fold all trains on every case")


def _check_patients(fold: Fold, patients: Mapping[str, str]) -> None:
    owners = {patients.get(name, name) for name in fold["train"]}
    divided = sorted({patients.get(name, name) for name in fold["validation"]} & owners)
    if divided:
        raise PlanError(
            f"scans of patient {_list(divided)} stand in training and in validation, so its scores would be too good",
            remedy="Keep patients together, or say that this is meant: medseg plan --folds-file FILE --divide-patients",
        )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
