"""One fold of a workspace: trained, then validated on whole scans."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Dataset
from medseg.core.errors import PlanError
from medseg.core.manifest import CaseOutcome, label_entries, name_time, write_run
from medseg.core.plan import Configuration
from medseg.core.plugins import load_plugins
from medseg.core.results import Score, write_rows
from medseg.core.workspace import Workspace, read_plan
from medseg.preprocessing import PreparedCase
from medseg.training.folds import train_fold
from medseg.training.origin import mark_network, note_origin, split_objects
from medseg.training.settings import change_settings
from medseg.training.splits import Fold, split_cases
from medseg.training.validation import make_validator, mask_ending, read_reference, validate_case

logger = logging.getLogger(__name__)


def run_fold(
    space: Workspace,
    dataset: Dataset,
    name: str,
    fold: Fold,
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    restart: bool = False,
    settings: Mapping[str, str] | None = None,
    plugins: Sequence[str] = (),
    **objects: Any,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Train a fold of a workspace and validate it on whole scans.

    Args:
        space: with plan, folds and prepared cases.
        dataset: where the references are.
        name: the configuration.
        fold: its number, or ``all``.
        seconds, epochs, device, restart: as for ``train_fold``.
        settings: other values for keys of the configuration.
        plugins: modules that enter networks or losses into the tables; the model is not used without them.
        objects: ``loss``, ``network``, ``augmentations``, ``callbacks`` of ``train_fold``.
    Returns:
        an outcome per validation case and their scores, which also stand in ``validation/scores.csv``.
    Raises:
        PlanError: an unknown configuration, fold or setting; no training case; an incompatible run.
    """
    if seconds is not None and epochs is not None:
        raise PlanError("a budget and a number of epochs", code="bad_setting", remedy="Give --budget or --epochs")
    started, plan = name_time(), read_plan(space)
    refuse_second_stage(plan.configuration(name))
    loaded = load_plugins(plugins)  # before the names that they bring are looked up
    named, objects = split_objects(objects)
    configuration = mark_network(change_settings(plan.configuration(name), {**named, **(settings or {})}), objects)
    training, validation = split_cases(space, name, fold)
    folder = space.run(name, fold)
    note_origin(folder, loaded, objects, restart=restart)
    trained = train_fold(
        plan, configuration, training, validation, folder, title=f"{name} fold {fold}", seconds=seconds, epochs=epochs,
        device=device, restart=restart, **objects,
    )  # fmt: skip
    # The configuration as trained, so that the model predicts with the network that was trained.
    configuration.write(folder / "configuration.json")
    validator = make_validator(
        plan, configuration, trained.weights, fold=fold if isinstance(fold, int) else None, device=device,
        network=objects.get("network"),
    )  # fmt: skip
    cases = {case.name: case for case in dataset.cases}

    def validate(prepared: PreparedCase) -> list[Score]:
        case = cases[prepared.name]
        target = folder / "validation" / f"{case.name}{mask_ending(case)}"
        return validate_case(validator, case, prepared, lambda c: read_reference(c, plan, dataset), target)

    results, failures = map_cases(validate, validation, lambda case: case.name, threads=1, title=f"{name} validate")
    scores = [score for rows in results for score in rows]
    write_rows(folder / "validation" / "scores.csv", scores, Score)
    done = sorted({score.case for score in scores})
    outcomes = [CaseOutcome(case, "done") for case in done] + failures
    write_run(folder, "train", outcomes, started=started, settings=dict(settings or {}), **label_entries(plan.labels))
    return outcomes, scores


def refuse_second_stage(configuration: Configuration) -> None:
    """Refuse to train what reads the masks of a stage before it, which training cannot give it yet.

    Args:
        configuration: of a plan.
    Raises:
        PlanError: it is the second stage of a cascade.
    """
    if configuration.previous is not None:
        raise PlanError(
            f"{configuration.name} is the second stage of a cascade, which cannot be trained yet", code="cascade",
            remedy=f"Train {configuration.previous} or 3d_fullres; nnU-Net's own cascades can be imported",
        )  # fmt: skip
