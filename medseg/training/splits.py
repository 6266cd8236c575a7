"""The folds of a workspace: which cases each trains and validates on, and which are finished."""

from __future__ import annotations

from medseg.core.errors import PlanError
from medseg.core.workspace import Workspace
from medseg.planning import read_folds
from medseg.preprocessing import PreparedCase, open_prepared, read_index

Fold = int | str


def split_cases(space: Workspace, name: str, fold: Fold) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """The prepared training and validation cases of a fold.

    Args:
        space: with ``folds.json`` and prepared cases.
        name: the configuration.
        fold: its number, or ``all`` for every case and no validation.
    Returns:
        training and validation; cases that were refused while preparing are in neither.
    Raises:
        PlanError: nothing is prepared yet, or there is no such fold.
    """
    folder = space.prepared(name)
    if not (folder / "index.json").is_file():
        remedy = f"Run medseg preprocess --workspace {space.root} first"
        raise PlanError(f"no case is prepared for {name} yet", code="not_prepared", file=folder, remedy=remedy)
    known = set(read_index(folder))
    if fold == "all":
        return [open_prepared(folder, case) for case in sorted(known)], []
    folds = read_folds(space)
    if not isinstance(fold, int) or not 0 <= fold < len(folds):
        listed = ", ".join(map(str, range(len(folds)))) or "none"
        raise PlanError(f"there is no fold {fold!r}", code="unknown_fold", remedy=f"There are: {listed}, all")
    sides = (folds[fold]["train"], folds[fold]["validation"])
    training, validation = ([open_prepared(folder, case) for case in side if case in known] for side in sides)
    return training, validation


def finished_folds(space: Workspace, name: str) -> list[Fold]:
    """The folds of a configuration whose training and validation are complete."""
    folders = sorted((space.root / "runs" / name).glob("fold_*"))
    done = [folder for folder in folders if (folder / "validation" / "scores.csv").is_file()]
    numbers = [folder.name.removeprefix("fold_") for folder in done]
    return [int(number) if number.isdigit() else number for number in numbers]
