"""What evaluating and measuring need besides masks: label names, patients, and the scans the masks lie on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from medseg.core.dataset import Case, MaskSource
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome, read_run
from medseg.io.channels import count_channels
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.recognition import is_dicom_tree
from medseg.io.files import is_image_name, list_images
from medseg.io.layouts import read_layout, settle_filling
from medseg.io.masks import read_segmentation
from medseg.io.naming import find_labels, read_names
from medseg.io.tables import name_patients

Held = TypeVar("Held")


def settle_labels(
    labels: LabelScheme | None, folders: Iterable[str | Path], masks: Iterable[MaskSource]
) -> LabelScheme:
    """The label scheme of a folder of masks.

    Args:
        labels: what the user said; it wins.
        folders: where a file that names labels may stand, in the order of asking.
        masks: asked where nothing else names labels: structures and segments of DICOM by their names; of label maps
            each value becomes ``label_N``.
    Returns:
        the scheme.
    Raises:
        DatasetError: nothing names labels and the masks hold none.
        MedsegError: nothing names labels and no mask can be read; the first one's fault.
    """
    stated = find_stated_labels(labels, folders)
    if stated is not None:
        return stated
    masks = list(masks)
    names = [name for mask in masks if mask.drawing is not None for name in mask.drawing.names]
    if names:
        from medseg.io.dicom.drawn_masks import name_labels

        return name_labels(names)
    values: set[int] = set()
    fault: MedsegError | None = None
    for mask in masks:
        try:
            values.update(np.unique(read_segmentation(mask).array).tolist())
        except MedsegError as error:  # the loop over cases will name what is wrong with this one
            fault = fault or error
    if fault is not None and not values:
        raise fault
    if not values - {0}:
        raise DatasetError(
            "nothing names the labels and the masks hold none", code="no_labels", remedy="Give --labels tumour=1"
        )
    return LabelScheme.make({f"label_{value}": value for value in sorted(values - {0})})


def find_stated_labels(labels: LabelScheme | None, folders: Iterable[str | Path]) -> LabelScheme | None:
    """The label scheme that the user said, or that a file in one of the folders states; None where nothing does.

    Args:
        labels: what the user said; it wins.
        folders: where a file that names labels may stand, in the order of asking.
    Returns:
        the scheme, or None.
    Raises:
        FormatError: a file is damaged.
    """
    if labels is not None:
        return labels
    return next((found for folder in folders if (found := find_labels(folder)) is not None), None)


def list_patients(
    masks: Mapping[str, MaskSource], scans: Mapping[str, Case] | None = None
) -> dict[str, tuple[str, int | None]]:
    """Patient and day of each case whose mask or scan is DICOM, by numbers that name nobody.

    Args:
        masks: by case.
        scans: by case.
    Returns:
        case to (patient, day); cases of which nothing is known are missing.
    """
    drawings = {case: mask.drawing for case, mask in masks.items() if mask.drawing is not None}
    found = {case: (scan.patient, scan.day) for case, scan in (scans or {}).items() if scan.load is not None}
    return found | {case: (drawing.patient, drawing.day) for case, drawing in drawings.items() if drawing.patient}


def describe_reading(
    reading: DicomReading,
    outcomes: Iterable[CaseOutcome],
    masks: Iterable[MaskSource],
    images: Iterable[Case] = (),
) -> dict[str, Any]:
    """What ``run.json`` says of masks and scans that came from DICOM.

    Args:
        reading: how they were read.
        outcomes: of the cases.
        masks, images: of those that are done.
    Returns:
        ``settings``, ``notes`` (what is doubtful about a case, a line each) and ``dicom`` (which files were used, and
        why others were not); empty where nothing was DICOM.
    """
    drawings = [mask.drawing for mask in masks if mask.drawing is not None]
    used = {path for drawing in drawings for path in drawing.files}
    used |= {source.path for case in images if case.load is not None for source in case.images}
    described = reading.describe(used)
    notes = [f"{one.case}: {one.reason}" for one in outcomes if one.status == "done" and one.reason]
    return described | {"notes": notes} if described else {}


def name_masks_as(masks: Mapping[str, MaskSource], folder: str | Path) -> dict[str, MaskSource]:
    """Masks from DICOM by the names that a run gave their series, where it did not use the usual ones.

    Args:
        masks: by case.
        folder: whose ``run.json`` names the files that each case was read from.
    Returns:
        the same, by case; what the run does not know keeps its name.
    """
    return _take_names(masks, lambda mask: mask.drawing.files if mask.drawing is not None else (), folder)


def name_scans_as(scans: Mapping[str, Case], folder: str | Path) -> dict[str, Case]:
    """As ``name_masks_as``, of scans from DICOM."""
    return _take_names(scans, lambda case: [one.path for one in case.images] if case.load is not None else (), folder)


def _take_names(
    found: Mapping[str, Held], list_files: Callable[[Held], Iterable[Path]], folder: str | Path
) -> dict[str, Held]:
    named: dict[Path, str] = {}
    for entry in read_run(folder).get("cases", ()):
        if isinstance(entry, dict) and entry.get("status") in ("done", "skipped"):
            named |= {Path(file).resolve(): str(entry.get("case")) for file in entry.get("inputs", ())[:1]}
    renamed: dict[str, Held] = {}
    for case, one in found.items():
        own = (named.get(file.resolve()) for file in list_files(one)) if named else iter(())
        renamed[next(filter(None, own), case)] = one
    return dict(sorted(renamed.items()))


def find_patients(path: str | Path) -> dict[str, tuple[str, int | None]]:
    """Each case's patient and day by ``cases.csv`` or ``dataset.json`` in the folder or the one above it.

    Args:
        path: a folder of masks or scans, or a file in it.
    Returns:
        case name to (patient, day), for the cases that the table names; empty where there is none.
    Raises:
        FormatError: the table is damaged.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    for place in (folder, folder.parent):
        names = read_names(place)
        if (place / "cases.csv").is_file():
            stems = {row.partition(",")[0] for row in (place / "cases.csv").read_text("utf-8").splitlines()[1:]}
            cases, _, _ = name_patients([Case(stem, ()) for stem in sorted(stems) if stem], place, names)
            return {case.name: (case.patient, case.day) for case in cases}
    return {}


def find_images(path: str | Path, *, nonfinite: str = "refuse", dicom: DicomReading | None = None) -> dict[str, Case]:
    """The scans at a path by case, with as many channels as they have.

    Args:
        path: an image, a folder of images, a data set, or a tree of DICOM files.
        nonfinite: what becomes of NaN and infinite voxels: ``refuse`` the case, or ``fill`` them.
        dicom: how DICOM series are read.
    Returns:
        case name to case; a folder with channels by four-digit suffix gives the cases without the suffix.
    Raises:
        DatasetError: there is no image.
    """
    from medseg.io.inputs import find_inputs

    folder = Path(path)
    if is_dicom_tree(folder):
        from medseg.io.dicom.drawn_images import find_dicom_images

        return find_dicom_images(folder, dicom or DicomReading())
    if folder.is_dir() and not list_images(folder):
        dataset = settle_filling(read_layout(folder), nonfinite)
        return {case.name: case for case in (*dataset.cases, *dataset.test_cases)}
    count = 1
    if folder.is_dir():
        suffixes = {file.name.split(".")[0][-5:] for file in list_images(folder)}
        if suffixes and all(suffix[:1] == "_" and suffix[1:].isdigit() for suffix in suffixes):
            count = len(suffixes)
    elif is_image_name(folder):
        count = count_channels(folder) or 1
    return {case.name: case for case in settle_filling(find_inputs(folder, count), nonfinite).cases}
