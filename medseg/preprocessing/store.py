"""Prepared cases on disk: compressed in small blocks, so that a patch is read without the rest of its case."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import FormatError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.records import Record, read_json, write_json
from medseg.preprocessing.arrays import open_array, read_array, write_array
from medseg.preprocessing.normalise import Scaling, apply_scalings
from medseg.preprocessing.prepare import Prepared, PreparedGrid

# Foreground voxels kept per label, enough that no patch is drawn twice by chance (nnU-Net keeps as many).
MAXIMUM_LOCATIONS = 10_000
# Above this, float16 would overflow to infinity (its largest number is 65504).
FLOAT16_LIMIT = 6e4


class StoredCase(Record):
    """``CASE.json``: what the arrays beside it are, and where they came from.

    Args:
        case: the case's name.
        key: stands for the inputs and settings it was made with; another key means it is out of date.
        grid: the way back to the scan.
        scalings: what turns the stored values into the network's input, per channel.
        has_reference: whether there is a reference.
        location_counts: foreground voxels listed per name of the label scheme, in its order.
    """

    format: Literal["medseg-prepared-1"] = "medseg-prepared-1"
    case: str
    key: str
    grid: PreparedGrid
    scalings: tuple[Scaling, ...]
    has_reference: bool
    location_counts: tuple[int, ...]


class StoredIndex(Record):
    """``index.json``: the cases of a folder."""

    format: Literal["medseg-prepared-index-1"] = "medseg-prepared-index-1"
    cases: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A prepared case on disk; its methods may be called from several threads at once.

    Args:
        name: the case's.
        shape: voxels in the network's axis order.
        grid: the way back to the scan.
        locations: by index of the label scheme's names, some or all of the voxels it holds, (n, 3), int32.
    """

    name: str
    shape: tuple[int, int, int]
    grid: PreparedGrid
    locations: dict[int, NDArray[np.int32]]
    folder: Path
    scalings: tuple[Scaling, ...]
    has_reference: bool

    def read_patch(self, start: Sequence[int], stop: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        """The network's input and the reference in ``start <= index < stop``.

        Args:
            start, stop: voxels within the prepared array.
        Returns:
            image (channel, a, b, c), float32, and label values (a, b, c); None where there is no reference.
        Raises:
            FormatError: the patch reaches beyond the array, or a file is damaged.
        """
        if not all(0 <= a < b <= n for a, b, n in zip(start, stop, self.shape, strict=True)):
            raise FormatError(f"patch {tuple(start)} to {tuple(stop)} of an array of {self.shape}", case=self.name)
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        stored, reference = self._read_box(box)
        return apply_scalings(stored, self.scalings), reference

    def read_all(self) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
        """The whole image and reference, as ``read_patch`` gives them."""
        return self.read_patch((0, 0, 0), self.shape)

    def read_stored(self) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The whole image as it is stored, which ``scalings`` make the network's input, and the reference."""
        return self._read_box((slice(None),) * 3)

    def count_bytes(self) -> int:
        """How much memory ``read_stored`` takes; raises FormatError where a file is damaged."""
        paths = [_image_path(self.folder, self.name)]
        paths += [_reference_path(self.folder, self.name)] if self.has_reference else []
        return sum(int(open_array(path, self.shape).nbytes) for path in paths)

    def _read_box(self, box: tuple[slice, ...]) -> tuple[NDArray[Any], NDArray[Any] | None]:
        stored = read_array(_image_path(self.folder, self.name), (slice(None), *box), self.shape)
        if not self.has_reference:
            return stored, None
        return stored, read_array(_reference_path(self.folder, self.name), box, self.shape)


def write_prepared(
    folder: str | Path, case: str, prepared: Prepared, *, exact_store: bool = False, key: str = ""
) -> tuple[Path, ...]:
    """Write a prepared case into a folder, whole or not at all.

    Args:
        folder: of the configuration's prepared cases; made where missing.
        case: the case's name.
        prepared: from ``prepare_case``.
        exact_store: resampled images in float32, not float16.
        key: stands for inputs and settings; ``is_current`` compares it.
    Returns:
        the files written.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    place = Path(folder)
    record, reference, listing = _record_path(place, case), _reference_path(place, case), _location_path(place, case)
    # Without its record a case does not exist, so a broken run leaves no old record beside new arrays.
    record.unlink(missing_ok=True)
    written = [_image_path(place, case)]
    write_array(written[0], _choose_type(prepared.stored, exact_store), prepared.dimensions)
    counts: tuple[int, ...] = ()
    if prepared.reference is not None:
        locations = find_locations(prepared.reference, prepared.labels, case)
        counts = tuple(len(voxels) for voxels in locations)
        write_array(reference, prepared.reference, prepared.dimensions)
        write_array(listing, np.concatenate(locations), 1)
        written += [reference, listing]
    else:
        reference.unlink(missing_ok=True)
        listing.unlink(missing_ok=True)
    StoredCase(
        case=case,
        key=key,
        grid=prepared.grid,
        scalings=prepared.scalings,
        has_reference=prepared.reference is not None,
        location_counts=counts,
    ).write(record)
    return (*written, record)


def open_prepared(folder: str | Path, case: str) -> PreparedCase:
    """A prepared case, its arrays still on disk.

    Args:
        folder: of the configuration's prepared cases.
        case: the case's name.
    Returns:
        the case; nothing that stands in its files is ever executed.
    Raises:
        FormatError: the case is not there, or a file is damaged.
    """
    place = Path(folder)
    stored = StoredCase.read(_record_path(place, case))
    locations: dict[int, NDArray[np.int32]] = {}
    if stored.has_reference:
        listing = read_array(_location_path(place, case), (slice(None),))
        if listing.shape != (sum(stored.location_counts), 3):
            raise FormatError("the list of voxels is not as long as its record says", case=case)
        ends = np.cumsum(stored.location_counts)[:-1]
        locations = {index: voxels.copy() for index, voxels in enumerate(np.split(listing, ends))}
    grid = stored.grid
    return PreparedCase(case, grid.resampled_shape, grid, locations, place, stored.scalings, stored.has_reference)


def is_current(folder: str | Path, case: str, key: str) -> bool:
    """Whether a case stands in the folder as ``key`` would make it, so that it need not be prepared anew.

    Args:
        folder: of the configuration's prepared cases.
        case: the case's name.
        key: stands for the inputs and settings that the case should be made with.
    Returns:
        False where the case is missing, lacks a file or was made with another key.
    """
    place = Path(folder)
    try:
        stored = StoredCase.read(_record_path(place, case))
    except MedsegError:
        return False
    paths = [_image_path(place, case)]
    if stored.has_reference:
        paths += [_reference_path(place, case), _location_path(place, case)]
    return stored.key == key and all(path.is_file() for path in paths)


def share_prepared(source: str | Path, folder: str | Path, case: str, key: str) -> bool:
    """Let a folder have a prepared case of another one, without a second copy of its arrays.

    Args:
        source: the folder that has it.
        folder: of another configuration, which prepares cases in the same way.
        case: the case's name.
        key: that it should have.
    Returns:
        False where the source has no such case or the disk cannot share files between folders.
    """
    place, origin = Path(folder), Path(source)
    if not is_current(origin, case, key):
        return False
    names = [path(origin, case).name for path in (_image_path, _reference_path, _location_path, _record_path)]
    place.mkdir(parents=True, exist_ok=True)
    try:
        for name in reversed(names):  # without its record, which comes last, a case does not exist
            (place / name).unlink(missing_ok=True)
        for name in filter(lambda name: (origin / name).is_file(), names):
            os.link(origin / name, place / name)
    except OSError:
        return False
    return True


def write_index(folder: str | Path, cases: Sequence[str]) -> None:
    """Write ``index.json``: the names of the folder's usable cases.

    Args:
        folder: of the configuration's prepared cases.
        cases: names; the order is kept.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    write_json(Path(folder) / "index.json", StoredIndex(cases=tuple(cases)).model_dump(mode="json"))


def read_index(folder: str | Path) -> tuple[str, ...]:
    """The names of a folder's prepared cases; raises FormatError where ``index.json`` is missing or damaged."""
    path = Path(folder) / "index.json"
    return StoredIndex.parse(read_json(path), file=path).cases


def find_locations(reference: NDArray[Any], labels: LabelScheme, case: str) -> list[NDArray[np.int32]]:
    """Voxels of every class and region, to place patches on.

    Args:
        reference: label values, (a, b, c).
        labels: their meaning.
        case: seeds the choice where there are more than 10000.
    Returns:
        per name of the scheme, in its order, (n, 3), int32, sorted by index; (0, 3) where the name does not occur.
    """
    voxels = np.flatnonzero(reference)
    found = reference.reshape(-1)[voxels]
    seed = int.from_bytes(hashlib.sha256(case.encode("utf-8")).digest()[:16], "little")
    listed = []
    for index, name in enumerate(labels.names):
        chosen = voxels[labels.mask(found, name)]
        if len(chosen) > MAXIMUM_LOCATIONS:
            generator = np.random.Generator(np.random.Philox(key=seed ^ index))
            chosen = chosen[np.sort(generator.choice(len(chosen), MAXIMUM_LOCATIONS, replace=False))]
        listed.append(np.stack(np.unravel_index(chosen, reference.shape), axis=1).astype(np.int32))
    return listed


def _choose_type(stored: NDArray[Any], exact_store: bool) -> NDArray[Any]:
    if stored.dtype.kind != "f" or exact_store:
        return stored
    fits = max(stored.max(), -stored.min()) < FLOAT16_LIMIT  # False for NaN, too
    return stored.astype(np.float16) if fits else stored


def _image_path(folder: Path, case: str) -> Path:
    return folder / f"{case}.b2nd"


def _reference_path(folder: Path, case: str) -> Path:
    return folder / f"{case}.reference.b2nd"


def _location_path(folder: Path, case: str) -> Path:
    return folder / f"{case}.locations.b2nd"


def _record_path(folder: Path, case: str) -> Path:
    return folder / f"{case}.json"
