"""The second stage of a cascade learns from masks that its first stage predicted without having seen the case."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset, MaskSource
from medseg.core.errors import DatasetError, PlanError
from medseg.core.manifest import CaseOutcome, hash_file, read_run
from medseg.core.plan import Configuration, Plan
from medseg.core.workspace import Workspace
from medseg.io import read_segmentation, read_volume
from medseg.planning import Fold, read_folds
from medseg.preprocessing import PreparedCase, find_body
from medseg.preprocessing.previous import PreviousMask, open_previous, prepare_labels, write_previous
from medseg.training.patches.memory_cases import MemoryCase
from medseg.training.patches.recipe import Source
from medseg.training.splits import finished_folds
from medseg.training.validation import mask_ending

# Written into the key, so that masks that an older version prepared another way are prepared anew.
VERSION = 1


@dataclass(frozen=True, eq=False)
class CascadeCase:
    """A prepared case whose image goes on with the first stage's mask, a channel per label value."""

    source: Source
    mask: PreviousMask

    @property
    def name(self) -> str:
        """The case's."""
        return self.source.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels (a, b, c)."""
        return self.source.shape

    @property
    def locations(self) -> dict[int, NDArray[np.int32]]:
        """By index of the label scheme's names, some or all of the voxels it holds, (n, 3)."""
        return self.source.locations

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        """Image and masks (channel, a, b, c) and label map (a, b, c) of a box inside the case."""
        image, reference = self.source.read_patch(start, stop)
        return np.concatenate([image, self.mask.read_patch(start, stop)]), reference


def add_previous(sources: Sequence[Source], masks: Mapping[str, PreviousMask]) -> list[Source]:
    """Cases to cut patches from, with the masks of the stage before as further channels.

    Args:
        sources: the cases; where their images are in memory, the masks are put there too.
        masks: by case, from ``gather_previous``; empty where there is no stage before.
    Returns:
        the cases in the same order.
    """
    if not masks:
        return list(sources)
    return [CascadeCase(source, _hold_beside(source, masks[source.name])) for source in sources]


def _hold_beside(source: Source, mask: PreviousMask) -> PreviousMask:
    return replace(mask, held=mask.read_labels()) if isinstance(source, MemoryCase) else mask


def list_missing_folds(space: Workspace, first: str) -> list[int]:
    """The folds of a first stage that are still to be trained before the second can be.

    Args:
        space: with folds.
        first: the first stage's configuration.
    Returns:
        their numbers; empty where each is finished.
    Raises:
        PlanError: there are no folds, so no case has a mask that was predicted without it; or a finished one was
            trained on cases that it now validates.
    """
    folds = read_folds(space)
    if not folds:
        raise PlanError(
            f"{first} has no folds, so there would be no masks of cases that it has not seen", code="cascade",
            remedy="Add cases of another patient, or train a configuration that is no cascade",
        )  # fmt: skip
    done = set(finished_folds(space, first))
    for number, fold in enumerate(folds):
        trained_on = read_run(space.run(first, number)).get("training_cases", ()) if number in done else ()
        seen = sorted(set(trained_on) & set(fold["validation"]))
        if seen:
            raise PlanError(
                f"{first} fold {number} was trained on {seen[0]}, which {space.folds.name} now has it validate",
                code="incompatible_run", file=space.run(first, number), remedy="Train that fold anew with --restart",
            )  # fmt: skip
    return [number for number in range(len(folds)) if number not in done]


def gather_previous(
    space: Workspace, dataset: Dataset, plan: Plan, configuration: Configuration, cases: Sequence[PreparedCase]
) -> tuple[dict[str, PreviousMask], list[CaseOutcome]]:
    """For each case the first stage's mask, predicted by the fold that validates it, on the second stage's grid.

    Args:
        space: with every fold of the first stage trained.
        dataset: where the scans are.
        plan: of the workspace.
        configuration: the second stage.
        cases: prepared for it.
    Returns:
        the masks by case, and an outcome for each case that has none. They stand in ``W/prepared/C/CASE.previous.b2nd``
        and are made anew where the first stage's mask or the prepared case changed.
    Raises:
        PlanError: a fold of the first stage is not trained yet.
    Source: nnU-Net v2 resamples the first stage's logits straight to this grid while it trains, but brings its masks
        there from the scan's grid when it predicts; here training sees what prediction will give.
    """
    first = configuration.previous or ""
    missing = list_missing_folds(space, first)
    if missing:
        listed = ", ".join(map(str, missing))
        raise PlanError(f"{first}: folds {listed} are not trained yet", code="cascade", remedy="Run medseg train first")
    owners = _find_owners(read_folds(space))
    scans = {case.name: case for case in dataset.cases}

    def bring(prepared: PreparedCase) -> PreviousMask:
        scan, fold = scans.get(prepared.name), owners.get(prepared.name)
        if scan is None or fold is None:
            raise DatasetError(f"no fold of {first} validates it, so no mask of it is out-of-fold", code="no_mask")
        path = space.run(first, fold) / "validation" / f"{prepared.name}{mask_ending(scan)}"
        if not path.is_file():
            raise DatasetError(f"{first} fold {fold} left no mask of it", code="no_mask", file=path)
        return _bring_mask(space.prepared(configuration.name), prepared, scan, path, dataset, plan)

    title = f"{configuration.name}: masks of {first}"
    masks, failures = map_cases(bring, cases, lambda case: case.name, title=title)
    return {mask.case: mask for mask in masks}, failures


def _bring_mask(
    folder: Path, prepared: PreparedCase, scan: Case, path: Path, dataset: Dataset, plan: Plan
) -> PreviousMask:
    """The mask in ``path`` as it stands beside the prepared case, put there where it is missing or out of date."""
    parts = (str(VERSION), hash_file(path), hash_file(folder / f"{prepared.name}.json"))
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    found = open_previous(folder, prepared.name, prepared.shape, plan.labels, key=key)
    if found is None:
        volume = read_volume(scan, plan.channels, spacing_mm=dataset.spacing_mm)
        mask = read_segmentation(
            MaskSource(path), labels=plan.labels, like=volume.geometry, case=scan.name, spacing_mm=dataset.spacing_mm
        )
        labels = prepare_labels(mask, prepared.grid, plan.labels, find_body(volume, prepared.grid))
        found = write_previous(folder, prepared.name, labels, plan.labels, key=key)
    return found


def _find_owners(folds: Sequence[Fold]) -> dict[str, int]:
    """The fold that validates each case; the first one where given folds have several."""
    owners: dict[str, int] = {}
    for number, fold in enumerate(folds):
        for case in fold["validation"]:
            owners.setdefault(case, number)
    return owners
