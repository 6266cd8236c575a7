"""A cascade's second stage reads the masks of its first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.records import Record
from medseg.core.volume import Segmentation, Volume
from medseg.grids import resample_labels
from medseg.preprocessing.arrays import read_array, write_array
from medseg.preprocessing.normalise import fill_holes
from medseg.preprocessing.prepare import PreparedGrid, turn_array


class StoredMask(Record):
    """``CASE.previous.json``: what ``CASE.previous.b2nd`` was made from.

    Args:
        case: the case's name.
        key: stands for the first stage's mask and the prepared case; another key means it is out of date.
    """

    format: Literal["medseg-previous-1"] = "medseg-previous-1"
    case: str
    key: str


@dataclass(frozen=True, eq=False)
class PreviousMask:
    """A first stage's mask as prepared for the second, on disk or in memory; threads may read it at once.

    Args:
        case: the case's name.
        shape: voxels (a, b, c) of the prepared case.
        values: the label values that get a channel each, in the channels' order.
        key: stands for its content.
        path: the file with its label values.
        held: the label values themselves, where they are in memory.
    """

    case: str
    shape: tuple[int, int, int]
    values: tuple[int, ...]
    key: str
    path: Path
    held: NDArray[Any] | None = None

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> NDArray[np.float32]:
        """The channels of a box inside the case, (value, a, b, c), 0 or 1; raises FormatError where it is damaged."""
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        labels = read_array(self.path, box, self.shape) if self.held is None else self.held[box]
        return encode_previous(labels, self.values)

    def read_labels(self) -> NDArray[Any]:
        """The whole mask's label values, (a, b, c); raises FormatError where it is damaged."""
        return read_array(self.path, (slice(None),) * 3, self.shape)


def find_body(volume: Volume, grid: PreparedGrid) -> NDArray[np.bool_]:
    """The scan's body in the box that was kept.

    Args:
        volume: the scan.
        grid: as it was prepared.
    Returns:
        (a, b, c) before resampling: the voxels that are not zero in some channel, holes filled.
    """
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    array = turn_array(volume.array, grid.axis_order, grid.flipped)
    return fill_holes((array[:, *box] != 0).any(axis=0))


def prepare_previous(
    segmentation: Segmentation, grid: PreparedGrid, labels: LabelScheme, body: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The masks of a cascade's first stage as further input channels of the second.

    Args:
        segmentation: the first stage's mask on the scan's own grid.
        grid: the scan as prepared for the second stage.
        labels: its values.
        body: of the scan, from ``find_body``; what lies outside is a label of its own while masks are resampled.
    Returns:
        (value, a, b, c), 1 where the mask holds the value, else 0; by rising value, without the background.
    Source: nnU-Net v2, ``crop_to_nonzero`` and ``convert_labelmap_to_one_hot``.
    """
    return encode_previous(prepare_labels(segmentation, grid, labels, body), labels.foreground)


def prepare_labels(
    segmentation: Segmentation, grid: PreparedGrid, labels: LabelScheme, body: NDArray[np.bool_]
) -> NDArray[Any]:
    """As ``prepare_previous``, before values become channels.

    Args:
        segmentation, grid, labels, body: as there.
    Returns:
        label values (a, b, c) on the prepared grid, uint8 or uint16; 0 for what is outside the body.
    """
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    cropped = turn_array(segmentation.array[None], grid.axis_order, grid.flipped)[0][box].astype(np.uint16)
    outside = max(labels.values) + 1
    cropped[(cropped == 0) & ~body] = outside
    values = (*labels.values, outside)
    resampled = resample_labels(cropped, grid.resampled_shape, values, coarse_axis=grid.coarse_axis_forth)
    return np.where(resampled == outside, 0, resampled).astype(labels.value_type())


def encode_previous(labels: NDArray[Any], values: Sequence[int]) -> NDArray[np.float32]:
    """Label values (a, b, c) as channels (value, a, b, c), 1 where the map holds the value, else 0."""
    return np.stack([labels == value for value in values]).astype(np.float32)


def write_previous(
    folder: str | Path, case: str, array: NDArray[Any], labels: LabelScheme, *, key: str
) -> PreviousMask:
    """Write a first stage's mask beside a prepared case, whole or not at all.

    Args:
        folder: of the second stage's prepared cases.
        case: the case's name.
        array: from ``prepare_labels``.
        labels: what its values mean.
        key: stands for the mask and the prepared case; ``open_previous`` compares it.
    Returns:
        the mask, on disk.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    record, path = _record_path(folder, case), _mask_path(folder, case)
    record.unlink(missing_ok=True)  # without its record a mask does not exist
    write_array(path, array, 3)
    StoredMask(case=case, key=key).write(record)
    a, b, c = array.shape
    return PreviousMask(case, (a, b, c), labels.foreground, key, path)


def open_previous(
    folder: str | Path, case: str, shape: tuple[int, int, int], labels: LabelScheme, *, key: str
) -> PreviousMask | None:
    """A first stage's mask that stands beside a prepared case.

    Args:
        folder: of the second stage's prepared cases.
        case: the case's name.
        shape: of the prepared case.
        labels: what the mask's values mean.
        key: that it should have.
    Returns:
        the mask, still on disk; None where there is none, or one with another key.
    """
    try:
        stored = StoredMask.read(_record_path(folder, case))
    except MedsegError:
        return None
    path = _mask_path(folder, case)
    return PreviousMask(case, shape, labels.foreground, key, path) if stored.key == key and path.is_file() else None


def _mask_path(folder: str | Path, case: str) -> Path:
    return Path(folder) / f"{case}.previous.b2nd"


def _record_path(folder: str | Path, case: str) -> Path:
    return Path(folder) / f"{case}.previous.json"
