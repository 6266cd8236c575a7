"""Probabilities as files: a folder a case, a file a channel, named after the labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError, GeometryError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.grids.align import find_axis_order, turn_axes
from medseg.io.files import list_images, stem_of
from medseg.io.read import read_image

FOLDER = "probabilities"


def name_channels(labels: LabelScheme) -> tuple[str, ...]:
    """The name of each channel of probabilities, the background's included where it has one."""
    return (("background",) if labels.output == "softmax" else ()) + labels.names


def name_files(labels: LabelScheme) -> tuple[str, ...]:
    """A file's stem for each channel of probabilities, no two alike even where a file system ignores case."""
    stems: list[str] = []
    for channel in name_channels(labels):
        plain = (
            re.sub(r"[^\w.-]+", "_", channel).lstrip(".") or "_"
        )  # a slash in a label's name would lead out of the folder
        stem, number = plain, 1
        while stem.lower() in [other.lower() for other in stems]:
            number += 1
            stem = f"{plain}_{number}"
        stems.append(stem)
    return tuple(stems)


def find_probabilities(path: str | Path) -> Path:
    """The folder that holds a folder of probabilities a case.

    Args:
        path: that folder, or an output folder of ``predict --save-probabilities``, which holds it.
    Returns:
        the folder.
    Raises:
        FormatError: there is no such folder.
    """
    folder = Path(path)
    if (folder / FOLDER).is_dir():
        return folder / FOLDER
    if not folder.is_dir():
        raise FormatError("there is no such folder", code="missing_file", file=folder, remedy="Check the path")
    return folder


def read_probabilities(
    folder: str | Path, case: str, labels: LabelScheme, like: Geometry
) -> dict[str, NDArray[np.float32]]:
    """The probability of each label in a case.

    Args:
        folder: with a folder a case, as ``predict --save-probabilities`` writes them.
        case: which.
        labels: whose; the background's is not read.
        like: the grid; files whose axes are merely in another order or direction are turned to it.
    Returns:
        label to probability, (i, j, k), 0 to 1, float32.
    Raises:
        DatasetError: a label has no file.
        FormatError: a file is damaged.
        GeometryError: a file lies on another grid.
    """
    files = {stem_of(path): path for path in list_images(Path(folder) / case)}
    named = dict(zip(name_channels(labels), name_files(labels), strict=True))
    found = {}
    for label in labels.names:
        if named[label] not in files:
            raise DatasetError(
                f"no probabilities of {label!r}: there is no {named[label]}.nii.gz or the like",
                code="no_probabilities", case=case, file=Path(folder) / case,
                remedy="Predict with --save-probabilities, or leave --probabilities out",
            )  # fmt: skip
        try:
            found[label] = _read_channel(files[named[label]], like)
        except MedsegError as error:
            raise error.for_case(case) from None
    return found


def _read_channel(path: Path, like: Geometry) -> NDArray[np.float32]:
    volume = read_image(path)
    if len(volume.array) != 1:
        raise DatasetError(f"{len(volume.array)} channels, expected one", code="channel_count", file=path)
    array: NDArray[Any] = volume.array[0]
    if not volume.geometry.same_grid(like):
        turn = find_axis_order(volume.geometry, like)
        if turn is None:
            raise GeometryError(
                f"the probabilities are {volume.geometry.describe()}, the reference {like.describe()}, or lie apart",
                code="other_grid", file=path, remedy="Predict on the scan that the reference was drawn on",
            )  # fmt: skip
        array = turn_axes(array, turn)
    return array.astype(np.float32, copy=False)
