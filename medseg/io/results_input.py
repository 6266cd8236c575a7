"""What evaluating and measuring need besides masks: label names, patients, and the scans the masks lie on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from medseg.core.dataset import Case, MaskSource
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.io.channels import count_channels
from medseg.io.files import is_image_name, list_images
from medseg.io.layouts import read_layout, settle_filling
from medseg.io.masks import read_segmentation
from medseg.io.naming import find_labels, read_names
from medseg.io.tables import name_patients


def settle_labels(
    labels: LabelScheme | None, folders: Iterable[str | Path], masks: Iterable[MaskSource]
) -> LabelScheme:
    """The label scheme of a folder of masks.

    Args:
        labels: what the user said; it wins.
        folders: where a file that names labels may stand, in the order of asking.
        masks: read where nothing names labels: each value becomes ``label_N``.
    Returns:
        the scheme.
    Raises:
        DatasetError: nothing names labels and the masks hold none.
        MedsegError: nothing names labels and no mask can be read; the first one's fault.
    """
    if labels is not None:
        return labels
    for folder in folders:
        found = find_labels(folder)
        if found is not None:
            return found
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


def find_images(path: str | Path, *, nonfinite: str = "refuse") -> dict[str, Case]:
    """The scans at a path by case, with as many channels as they have.

    Args:
        path: an image, a folder of images, or a data set.
        nonfinite: what becomes of NaN and infinite voxels: ``refuse`` the case, or ``fill`` them.
    Returns:
        case name to case; a folder with channels by four-digit suffix gives the cases without the suffix.
    Raises:
        DatasetError: there is no image.
    """
    from medseg.io.inputs import find_inputs

    folder = Path(path)
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
