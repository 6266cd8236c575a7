"""Masks of many scans with one warm model; a finished case is not done again, a bad one does not stop the others."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from medseg.core.dataset import Case, Dataset
from medseg.core.errors import DatasetError, MedsegError, PlanError
from medseg.core.manifest import CaseOutcome, label_entries, outcome_of_error
from medseg.inference.folders.ahead import go_through
from medseg.inference.folders.finished import Entry, Part, RunRecord
from medseg.inference.folders.following import begin_following
from medseg.inference.folders.limits import Limits
from medseg.inference.folders.locking import locks_output
from medseg.inference.folders.objects import ObjectOptions
from medseg.inference.folders.room import require_room_for_masks
from medseg.inference.folders.run import FolderRun
from medseg.inference.folders.writing import DICOM_FORMATS, ENDINGS, OBJECTS, parse_formats
from medseg.inference.predictor import Predictor
from medseg.inference.volume_errors import describe_errors, settle_errors
from medseg.io.layouts import settle_filling

if TYPE_CHECKING:
    from medseg.io.dicom.scans import DicomScans  # which loads pydicom

logger = logging.getLogger(__name__)


@locks_output
def predict_cases(
    predictor: Predictor,
    dataset: Dataset,
    output: Path,
    *,
    file_format: str = "nifti",
    save_probabilities: bool = False,
    spacing_mm: Sequence[float] | None = None,
    nonfinite: str = "refuse",
    part: Part | None = None,
    max_ram_gb: float | None = None,
    max_vram_gb: float | None = None,
    dicom: DicomScans | None = None,
    objects: ObjectOptions | None = None,
) -> list[CaseOutcome]:
    """Segment each case into ``output/CASE.ENDING``, and note in ``run.json`` what became of it.

    The next case is read and prepared, and the last one written, while one is computed; small scans go through the
    networks together. Several processes may share a folder, each doing its part: they note their cases in files of
    their own (``run-1-of-4.json``), which are put together into ``run.json`` as each begins and ends; a later run of
    all cases takes them over.

    Args:
        predictor: a loaded model.
        dataset: the cases, as ``find_inputs`` gives them; its problems become refused cases.
        output: the folder for masks.
        file_format: ``nifti``, ``mha`` or ``nrrd``, of scans from DICOM ``dicom-seg``, ``rtstruct``, ``sr`` and
            ``key-pictures`` too, or several with commas; pictures give PNG whatever it says.
        save_probabilities: also write ``probabilities/CASE/LABEL.ENDING`` per channel, those of pictures too.
        spacing_mm: for pictures, which seldom know theirs.
        nonfinite: what becomes of NaN and infinite voxels: ``refuse`` the case, or ``fill`` them.
        part: (1, 4) for the first of four parts: every fourth case by name, from the first; None for all.
        max_ram_gb, max_vram_gb: memory to keep to, of the computer (this program included) and of the GPU, 10^9 bytes;
            a case that cannot is refused with what it needs.
        dicom: the series of the cases, where they are read from DICOM.
        objects: how DICOM objects are written; as usual where None.
    Returns:
        an outcome per case of this part, by name; ``skipped`` where the record says that the same model made the same
        files with the same settings from the same input (by SHA-256), and they still have their hashes.
    Raises:
        DatasetError: an unknown format, or one that only scans from DICOM can have; no earlier lesions to follow.
        PlanError: there is no such part, or a limit is not above 0.
        ResourceError: the folder cannot be written, its disk has no room, or another process writes the same masks.
    """
    formats, options = parse_formats(file_format), objects or ObjectOptions()
    if dicom is None and (of_dicom := [name for name in formats if name in DICOM_FORMATS]):
        raise DatasetError(
            f"the format {of_dicom[0]} needs scans that are read from DICOM", code="format",
            file=dataset.root, remedy=f"Use --format {' or '.join(ENDINGS)}",
        )  # fmt: skip
    options.check(formats, predictor.model.plan.labels)
    if any(limit is not None and not limit > 0 for limit in (max_ram_gb, max_vram_gb)):
        raise PlanError("a limit of memory is not above 0 GB", remedy="Use --max-ram-gb 8, for instance")
    dataset = settle_filling(dataset, nonfinite)
    cases, problems = take_part(dataset, part)
    following, cases = begin_following(options, output, dicom, cases, part)
    spacing_mm = spacing_mm or dataset.spacing_mm
    settings = {
        **predictor.provenance,
        "format": file_format,
        "probabilities": "yes" if save_probabilities else "no",
        "spacing_mm": ", ".join(map(str, spacing_mm or ())) or "as in the files",
        **({"nonfinite": nonfinite} if nonfinite != "refuse" else {}),
        **options.describe(),
        **({"dicom": dicom.describe()} if dicom is not None else {}),
    }
    details = {
        "model": predictor.digest,
        "engine": f"{predictor.engine}: {predictor.engine_reason}",
        "layout": dataset.layout,
        **({"dicom": [dicom.files]} if dicom is not None else {}),
        "channels": list(predictor.model.plan.channels),
        "volume_errors": describe_errors(
            *settle_errors(predictor.models, predictor.members, predictor.window.overlap, predictor.rules)
        ),
        **label_entries(predictor.model.plan.labels),
    }
    channels = predictor.model.plan.labels.channel_count if save_probabilities else 0
    require_room_for_masks(output, cases, (ENDINGS | OBJECTS).get(formats[0], ""), probabilities=channels)
    record, outcomes, began = RunRecord(output, part, settings, details), list[CaseOutcome](), time.monotonic()
    stopped, threads = threading.Event(), torch.get_num_threads()
    try:
        for problem in problems:
            outcomes.append(record.add(Entry(outcome_of_error(problem))))
            logger.error("%s", outcomes[-1].line())
        with _show_progress(len(cases)) as advance:

            def conclude(outcome: CaseOutcome) -> None:
                outcomes.append(outcome)
                if outcome.status in ("refused", "failed"):
                    logger.error("%s", outcome.line())
                advance()

            run = FolderRun(
                predictor, cases, record, Limits(max_ram_gb, max_vram_gb), output, formats, save_probabilities,
                spacing_mm, conclude, stopped, dicom, options, following,
            )  # fmt: skip
            go_through(len(cases), run.read, run.compute, run.write, may_read_ahead=run.may_read_ahead, stopped=stopped)
    finally:
        torch.set_num_threads(threads)  # reading cases ahead sets what threads begun later would have
        record.finish()
        logger.info("%s: %s", output, _sum_up(outcomes, len(cases) + len(problems), time.monotonic() - began))
    return sorted(outcomes, key=lambda outcome: outcome.case)


def take_part(dataset: Dataset, part: Part | None) -> tuple[list[Case], list[MedsegError]]:
    """A part of a data set's cases, in order of their names.

    Args:
        dataset: all of them.
        part: (2, 4) for the second of four parts; None for all.
    Returns:
        the usable cases and the problems; a case belongs to the same part whether it can be used or not.
    Raises:
        PlanError: there is no such part.
    """
    number, count = part or (1, 1)
    if not 1 <= number <= count:
        last = max(1, count)
        raise PlanError(f"there is no part {number} of {count}", remedy=f"Use --part 1/{last} to --part {last}/{last}")
    named: list[tuple[str, Case | MedsegError]] = [(case.name, case) for case in dataset.cases]
    named += [(problem.case or "", problem) for problem in dataset.problems]
    chosen = [item for _, item in sorted(named, key=lambda pair: pair[0])[number - 1 :: count]]
    cases = [item for item in chosen if isinstance(item, Case)]
    return cases, [item for item in chosen if isinstance(item, MedsegError)]


def _sum_up(outcomes: Sequence[CaseOutcome], count: int, seconds: float) -> str:
    counts: Counter[str] = Counter(outcome.status for outcome in outcomes)
    words = {"done": "done", "skipped": "unchanged since an earlier run", "refused": "refused", "failed": "failed"}
    said = [f"{counts[status]} {word}" for status, word in words.items() if counts[status]]
    said += [f"{count - len(outcomes)} not begun"] if len(outcomes) < count else []
    each = f", {seconds / counts['done']:.2g} s each" if counts["done"] else ""
    return f"{', '.join(said) or 'no cases'} in {seconds:.0f} s{each}"


@contextlib.contextmanager
def _show_progress(count: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error; gives what to call after each case."""
    if not sys.stderr.isatty():  # a bar that cannot move would leave empty lines in a log
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("predict", total=count)
        yield lambda: progress.advance(task)
