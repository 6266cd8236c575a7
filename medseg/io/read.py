"""Reading images, whatever their format, and bringing the channels of a case onto one grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, GeometryError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids.align import align_volume
from medseg.io.files import GRID_ENDINGS, PICTURE_ENDINGS, split_ending
from medseg.io.voxels import check_varied

logger = logging.getLogger(__name__)


def read_array(
    path: str | Path,
    indices: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    *,
    as_mask: bool = False,
    fill_nonfinite: bool = False,
) -> tuple[NDArray[Any], Geometry]:
    """The voxels of an image file of any known format, by its ending.

    Args:
        path: the file.
        indices: which channels of a file that holds several; None for all of a picture's, or the only one.
        spacing_mm: for pictures, which seldom know theirs.
        as_mask: whether the file is a label map, so that a palette's numbers are meant, not its colours.
        fill_nonfinite: whether NaN and infinite voxels are filled; they are refused otherwise.
    Returns:
        (channel, i, j, k) and the geometry.
    Raises:
        FormatError: the file is missing, damaged or of an unknown kind.
        GeometryError: its grid cannot be read as millimetres.
    """
    ending = split_ending(path)[1]
    if ending in PICTURE_ENDINGS:
        from medseg.io.pictures import read_picture

        return read_picture(path, indices, spacing_mm, as_mask=as_mask, fill_nonfinite=fill_nonfinite)
    if ending in GRID_ENDINGS:
        from medseg.io.nrrd import read_grid

        return read_grid(path, indices, fill_nonfinite=fill_nonfinite)
    from medseg.io.nifti import read_nifti

    return read_nifti(path, indices, fill_nonfinite=fill_nonfinite)


def read_image(path: str | Path, *, index: int | None = None, spacing_mm: Sequence[float] | None = None) -> Volume:
    """One image file as a volume.

    Args:
        path: the file.
        index: which volume or channel of a file that holds several; None for all of a picture's, or the only one.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        the volume, with channels called ``channel_0``, ...
    Raises:
        FormatError: the file is missing, damaged or of an unknown kind.
        GeometryError: its grid cannot be read as millimetres.
    """
    array, geometry = read_array(path, None if index is None else [index], spacing_mm)
    return Volume(array, geometry, _name_channels(len(array), ()))


def read_volume(case: Case, channels: Sequence[str] = (), *, spacing_mm: Sequence[float] | None = None) -> Volume:
    """The image of a case with all its channels on the first one's grid.

    Args:
        case: names the files, and says whether NaN and infinite voxels are filled.
        channels: the channels' names; ``channel_0``, ... where there are none.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        the volume: the files' own integer type where all channels have one, else float32. Channels on another grid are
        resampled (``align_volume``), which the log says.
    Raises:
        FormatError: a file is missing, damaged or of an unknown kind, or a channel has one value everywhere.
        GeometryError: a grid cannot be read as millimetres, or channels do not overlap.
        DatasetError: the files hold another number of channels than ``channels`` names.
    """
    try:
        if case.load is not None:
            return _load_image(case, channels)
        return _read_channels(case, channels, spacing_mm)
    except MedsegError as error:
        raise error.for_case(case.name) from None


def _load_image(case: Case, channels: Sequence[str]) -> Volume:
    """The image of a case that reads itself, from DICOM; its own channels' names are as good as any."""
    assert case.load is not None
    volume, notes = case.load()
    for note in notes:
        logger.warning("%s: %s", case.name, note)
    _require_channels(len(volume.array), channels, case)
    return Volume(volume.array, volume.geometry, tuple(channels) or volume.channels)


def _require_channels(count: int, channels: Sequence[str], case: Case) -> None:
    if channels and count != len(channels):
        raise DatasetError(
            f"{count} channels, expected {len(channels)} ({', '.join(channels)})",
            code="channel_count",
            file=case.images[0].path,
            remedy="Give one name per channel with --channels",
        )


def _read_channels(case: Case, channels: Sequence[str], spacing_mm: Sequence[float] | None) -> Volume:
    parts: list[Volume] = []
    for path, group in groupby(case.images, key=lambda source: source.path):
        indices = [source.index for source in group]
        wanted = None if None in indices else [index for index in indices if index is not None]
        array, geometry = read_array(path, wanted, spacing_mm, fill_nonfinite=case.fill_nonfinite)
        _check_signal(array, path)
        parts.append(Volume(array, geometry, _name_channels(len(array), ())))
        if len(parts) > 1:
            parts[-1] = _align_channel(parts[-1], parts[0].geometry, case, path)
    count = sum(len(part.array) for part in parts)
    _require_channels(count, channels, case)
    return Volume(_stack([part.array for part in parts]), parts[0].geometry, _name_channels(count, channels))


def _check_signal(array: NDArray[Any], path: Path) -> None:
    # A stain may leave one of a picture's colours empty; a scan's channel without any signal was lost.
    for part in [array] if split_ending(path)[1] in PICTURE_ENDINGS else array:
        check_varied(part, path)


def _align_channel(volume: Volume, like: Geometry, case: Case, path: Path) -> Volume:
    if volume.geometry.same_grid(like):
        return Volume(volume.array, like, volume.channels)
    try:
        aligned = align_volume(volume, like)
    except GeometryError as error:
        raise GeometryError(error.reason, code=error.code, file=path, remedy=error.remedy) from None
    logger.info(
        "%s: %s (%s) brought onto the grid of the first channel (%s)",
        case.name,
        path.name,
        volume.geometry.describe(),
        like.describe(),
    )
    return aligned


def _stack(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len(arrays) == 1:
        return arrays[0]
    dtype = np.result_type(*arrays)
    dtype = np.dtype(np.float32) if dtype.kind == "f" else dtype
    count, (i, j, k) = sum(map(len, arrays)), arrays[0].shape[1:]
    # Each channel in the files' own memory order (i fastest), so that nothing is turned round on the way.
    target = np.empty((count, k, j, i), dtype).transpose(0, 3, 2, 1)
    return np.concatenate(arrays, out=target, casting="same_kind")


def _name_channels(count: int, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names) or tuple(f"channel_{number}" for number in range(count))
