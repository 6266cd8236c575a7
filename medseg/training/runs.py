"""One fold of a workspace: trained, then validated on whole scans."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medseg.compute import map_cases
from medseg.core.dataset import Dataset
from medseg.core.errors import PlanError
from medseg.core.manifest import CaseOutcome, label_entries, name_time, write_run
from medseg.core.plugins import load_plugins
from medseg.core.results import Score, write_rows
from medseg.core.workspace import Workspace, locks_run, read_plan
from medseg.preprocessing import PreparedCase
from medseg.preprocessing.previous import PreviousMask
from medseg.training.cascade import gather_previous
from medseg.training.distributed.parallel import Ranks, find_ranks
from medseg.training.dry_run import note_memory
from medseg.training.fine_tuning.starts import open_start
from medseg.training.folds import train_fold
from medseg.training.origin import mark_network, note_origin, split_objects
from medseg.training.settings import change_settings
from medseg.training.splits import Fold, split_cases
from medseg.training.validation import Validator, make_validator, mask_ending, read_reference, validate_case

logger = logging.getLogger(__name__)


@locks_run
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
    start_from: str | Path | None = None,
    **objects: Any,
) -> tuple[list[CaseOutcome], list[Score]]:
    """Train a fold of a workspace and validate it on whole scans; started by torchrun, together with other processes.

    Args:
        space: with plan, folds and prepared cases.
        dataset: where the references are.
        name: the configuration.
        fold: its number, or ``all``.
        seconds, epochs, device, restart: as for ``train_fold``.
        settings: other values for keys of the configuration.
        plugins: modules that enter networks or losses into the tables; the model is not used without them.
        start_from: the folder of a model or run to begin from.
        objects: ``loss``, ``network``, ``augmentations``, ``callbacks`` of ``train_fold``.
    Returns:
        an outcome per validation case and their scores, which also stand in ``validation/scores.csv``.
    Raises:
        PlanError: an unknown configuration, fold or setting; no training case; an incompatible run.
        ResourceError: another process trains the fold or changes the workspace, or the disk has no room.
    """
    if seconds is not None and epochs is not None:
        raise PlanError("a budget and a number of epochs", code="bad_setting", remedy="Give --budget or --epochs")
    started, plan, ranks = name_time(), read_plan(space), find_ranks(device)
    loaded = load_plugins(plugins)  # before the names that they bring are looked up
    named, objects = split_objects(objects)
    configuration = mark_network(change_settings(plan.configuration(name), {**named, **(settings or {})}), objects)
    split = split_cases(space, name, fold)
    training, validation = split.training, split.validation
    previous, lacking = dict[str, PreviousMask](), list[CaseOutcome]()
    start = None if start_from is None else open_start(start_from, configuration, fold)
    folder = space.run(name, fold)
    with ranks.one_by_one():
        if configuration.previous is not None:
            previous, lacking = gather_previous(space, dataset, plan, configuration, training + validation)
            training, validation = ([case for case in side if case.name in previous] for side in (training, validation))
        if restart:
            shutil.rmtree(folder / "validation", ignore_errors=True)  # else the old network passes for the new one
        note_origin(folder, loaded, objects, restart=restart)
    configuration = note_memory(plan, configuration, title=f"{name} fold {fold}", device=device, objects=objects)
    trained = train_fold(
        plan, configuration, training, validation, folder, title=f"{name} fold {fold}", seconds=seconds, epochs=epochs,
        device=device, restart=restart, previous=previous, start_from=start, **objects,
    )  # fmt: skip
    validator = make_validator(
        plan, configuration, trained.weights, fold=fold if isinstance(fold, int) else None,
        device=ranks.place(device), network=objects.get("network"),
    )  # fmt: skip
    scores, failures = _validate_cases(validator, dataset, validation, previous, folder / "validation", ranks)
    done = sorted({score.case for score in scores})
    outcomes = [CaseOutcome(case, "done") for case in done] + failures + lacking
    # A validation case that the patch Dice met first is damaged once, not twice.
    outcomes += [o for o in split.damaged + trained.outcomes if o not in outcomes]
    details = {"settings": dict(settings or {}), "training_cases": [case.name for case in training]}
    if ranks.is_first:
        # The configuration as trained, so that the model predicts with the network that was trained.
        configuration.write(folder / "configuration.json")
        write_rows(folder / "validation" / "scores.csv", scores, Score)
        write_run(folder, "train", outcomes, started=started, **details, **label_entries(plan.labels))
    return outcomes, scores


def _validate_cases(
    validator: Validator,
    dataset: Dataset,
    validation: Sequence[PreparedCase],
    previous: Mapping[str, PreviousMask],
    folder: Path,
    ranks: Ranks,
) -> tuple[list[Score], list[CaseOutcome]]:
    """The scores of a fold's validation cases, whose masks go into ``folder``, and an outcome for each that failed.

    Several processes share the cases and tell each other the scores.
    """
    cases = {case.name: case for case in dataset.cases}

    def validate(prepared: PreparedCase) -> list[Score]:
        case = cases[prepared.name]
        target = folder / f"{case.name}{mask_ending(case)}"
        return validate_case(
            validator, case, prepared, lambda c: read_reference(c, validator.plan, dataset), target,
            previous=previous.get(case.name),
        )  # fmt: skip

    with ranks.one_by_one():
        if ranks.is_first:  # masks of another division of the cases would be taken for this one's
            shutil.rmtree(folder, ignore_errors=True)
    title = f"{validator.configuration.name} validate" if ranks.is_first else ""
    share = ranks.take_share(validation)
    results, failures = map_cases(validate, share, lambda case: case.name, threads=1, title=title)
    if ranks.count == 1:
        return [score for rows in results for score in rows], failures
    told = ranks.gather([[asdict(score) for rows in results for score in rows], [asdict(each) for each in failures]])
    place = {case.name: number for number, case in enumerate(validation)}
    scores = sorted((Score(**row) for rows, _ in told for row in rows), key=lambda score: place[score.case])
    lost = [CaseOutcome(**{**each, "inputs": tuple(each["inputs"])}) for _, outcomes in told for each in outcomes]
    return scores, sorted(lost, key=lambda outcome: place[outcome.case])
