"""Masks of many scans with one warm model; a finished case is not done again, a bad one does not stop the others."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.compute import map_cases
from medseg.core.dataset import Case, Dataset
from medseg.core.errors import DatasetError, MedsegError, ResourceError
from medseg.core.geometry import Geometry
from medseg.core.manifest import CaseOutcome, hash_file, label_entries, name_time, outcome_of_error, write_run
from medseg.core.records import read_json
from medseg.core.volume import Volume
from medseg.inference.predictor import Prediction, Predictor
from medseg.io import read_volume, write_segmentation, write_volume
from medseg.io.files import PICTURE_ENDINGS, split_ending

logger = logging.getLogger(__name__)

ENDINGS = {"nifti": ".nii.gz", "mha": ".mha", "nrrd": ".nrrd"}


def predict_cases(
    predictor: Predictor,
    dataset: Dataset,
    output: Path,
    *,
    file_format: str = "nifti",
    save_probabilities: bool = False,
    spacing_mm: Sequence[float] | None = None,
) -> list[CaseOutcome]:
    """Segment each case into ``output/CASE.ENDING`` and keep ``run.json`` up to date.

    Args:
        predictor: a loaded model.
        dataset: the cases, as ``find_inputs`` gives them; its problems become refused cases.
        output: the folder for masks.
        file_format: ``nifti``, ``mha`` or ``nrrd``; pictures give PNG whatever it says.
        save_probabilities: also write ``probabilities/CASE_LABEL.nii.gz`` per channel.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        an outcome per case; ``skipped`` where ``run.json`` says that the same model made the same files with the
        same settings from the same input, and they still have their hashes.
    Raises:
        DatasetError: an unknown format.
        ResourceError: the folder cannot be written.
    """
    if file_format not in ENDINGS:
        raise DatasetError(f"unknown format {file_format!r}", code="format", remedy=f"Known: {', '.join(ENDINGS)}")
    settings = {
        **predictor.provenance,
        "format": file_format,
        "probabilities": "yes" if save_probabilities else "no",
        "spacing_mm": ", ".join(map(str, spacing_mm or dataset.spacing_mm or ())) or "as in the files",
    }
    finished, started = _read_finished(output, settings), name_time()

    def note(outcomes: Iterable[CaseOutcome]) -> None:
        try:
            write_run(
                output, "predict", outcomes, started=started, model=predictor.model.digest, settings=settings,
                layout=dataset.layout, channels=list(predictor.model.plan.channels),
                **label_entries(predictor.model.plan.labels),
            )  # fmt: skip
        except OSError as error:
            raise ResourceError(f"the folder cannot be written: {error.strerror}", file=output) from None

    def predict(case: Case) -> CaseOutcome:
        key = _input_key(case)
        old = finished.pop(case.name, None)
        if old is None or old.code != key or not _still_there(output, old.outputs):
            volume = read_volume(case, predictor.model.plan.channels, spacing_mm=spacing_mm or dataset.spacing_mm)
            prediction = predictor.predict(volume, with_probabilities=save_probabilities)
            names = _write(prediction, volume, case, output, file_format, predictor)
            outputs = {name: hash_file(output / name) for name in names}
            finished[case.name] = CaseOutcome(case.name, "done", code=key, inputs=_list_inputs(case), outputs=outputs)
            note(finished.values())  # a run that is stopped goes on after its last case
        else:
            finished[case.name] = replace(old, status="skipped")
        return finished[case.name]

    # One case at a time: the network itself uses every core.
    done, failures = map_cases(predict, dataset.cases, lambda case: case.name, threads=1, title="predict")
    problems = [outcome_of_error(problem) for problem in dataset.problems]
    outcomes = sorted([*done, *failures, *problems], key=lambda outcome: outcome.case)
    note(outcomes)
    return outcomes


def _list_inputs(case: Case) -> tuple[str, ...]:
    return tuple(str(source.path) for source in case.images)


def _input_key(case: Case) -> str:
    try:
        parts = [
            f"{source.path.name}:{source.path.stat().st_size}:{source.path.stat().st_mtime_ns}"
            for source in case.images
        ]
    except OSError as error:
        raise DatasetError(
            f"the file cannot be read: {error.strerror}", case=case.name, file=case.images[0].path
        ) from None
    return "|".join(parts)


def _read_finished(output: Path, settings: Mapping[str, str]) -> dict[str, CaseOutcome]:
    """The finished cases of an earlier run with the same model and settings, by name."""
    path = output / "run.json"
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
        if content.get("settings") != settings:
            return {}
        outcomes = [CaseOutcome(**{**case, "inputs": tuple(case["inputs"])}) for case in content["cases"]]
        return {outcome.case: outcome for outcome in outcomes if outcome.status in ("done", "skipped")}
    except (MedsegError, AttributeError, KeyError, TypeError):
        logger.warning("%s is damaged; all cases are done again", path)
        return {}


def _still_there(output: Path, files: dict[str, str]) -> bool:
    return bool(files) and all((output / n).is_file() and hash_file(output / n) == h for n, h in files.items())


def _write(
    prediction: Prediction, volume: Volume, case: Case, output: Path, file_format: str, predictor: Predictor
) -> list[str]:
    is_picture = split_ending(case.images[0].path)[1] in PICTURE_ENDINGS
    ending = ".png" if is_picture and volume.geometry.shape[2] == 1 else ENDINGS[file_format]
    names = [f"{case.name}{ending}"]
    try:
        write_segmentation(output / names[0], prediction.segmentation)
        if prediction.probabilities is not None:
            names += _write_probabilities(prediction, volume.geometry, case, output, predictor)
    except OSError as error:
        raise ResourceError(f"the mask cannot be written: {error.strerror}", case=case.name, file=output) from None
    return names


def _write_probabilities(
    prediction: Prediction, geometry: Geometry, case: Case, output: Path, predictor: Predictor
) -> list[str]:
    labels = predictor.model.plan.labels
    channels = (("background",) if labels.output == "softmax" else ()) + labels.names
    names = []
    for name, array in zip(
        channels, prediction.probabilities if prediction.probabilities is not None else (), strict=True
    ):
        plain = re.sub(r"[^\w.-]+", "_", name)  # a slash in a label's name would lead out of the folder
        names.append(f"probabilities/{case.name}_{plain}.nii.gz")
        write_volume(output / names[-1], Volume(array[None], geometry, (name,)))
    return names
