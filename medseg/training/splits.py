"""The folds of a workspace: which cases each trains and validates on, and which are finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.compute import map_cases
from medseg.core.errors import PlanError
from medseg.core.manifest import CaseOutcome
from medseg.core.workspace import Workspace
from medseg.planning import read_folds
from medseg.preprocessing import PreparedCase, open_prepared, read_index

Fold = int | str


@dataclass(frozen=True)
class Split:
    """The prepared cases of a fold.

    Args:
        training, validation: those that can be opened.
        damaged: an outcome for each of the others.
    """

    training: list[PreparedCase]
    validation: list[PreparedCase]
    damaged: list[CaseOutcome]


def split_cases(space: Workspace, name: str, fold: Fold) -> Split:
    """The prepared training and validation cases of a fold.

    Args:
        space: with ``folds.json`` and prepared cases.
        name: the configuration.
        fold: its number, or ``all`` for every case and no validation.
    Returns:
        the cases; those that were refused while preparing are not among them, damaged ones are named in one line each.
    Raises:
        PlanError: nothing is prepared yet, or there is no such fold.
    """
    folder = space.prepared(name)
    if not (folder / "index.json").is_file():
        remedy = f"Run medseg preprocess --workspace {space.root} first"
        raise PlanError(f"no case is prepared for {name} yet", code="not_prepared", file=folder, remedy=remedy)
    known = set(read_index(folder))
    if fold == "all":
        return _open_split(folder, sorted(known), [])
    folds = read_folds(space)
    if not isinstance(fold, int) or not 0 <= fold < len(folds):
        listed = ", ".join(map(str, range(len(folds)))) or "none"
        raise PlanError(f"there is no fold {fold!r}", code="unknown_fold", remedy=f"There are: {listed}, all")
    sides = (folds[fold]["train"], folds[fold]["validation"])
    return _open_split(folder, *([case for case in side if case in known] for side in sides))


def _open_split(folder: Path, training: Sequence[str], validation: Sequence[str]) -> Split:
    def open_case(name: str) -> PreparedCase:
        return open_prepared(folder, name)

    (trained_on, damaged), (held_out, more) = (map_cases(open_case, side, str) for side in (training, validation))
    return Split(trained_on, held_out, damaged + more)


def finished_folds(space: Workspace, name: str) -> list[Fold]:
    """The folds of a configuration whose training and validation are complete."""
    folders = sorted((space.root / "runs" / name).glob("fold_*"))
    done = [folder for folder in folders if (folder / "validation" / "scores.csv").is_file()]
    numbers = [folder.name.removeprefix("fold_") for folder in done]
    return [int(number) if number.isdigit() else number for number in numbers]
