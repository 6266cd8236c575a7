"""The voxels of a case to centre patches on: of each label, of each lesion, of what was labelled at all."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.preprocessing.store import MAXIMUM_LOCATIONS
from medseg.shapes.boxes import bound_mask
from medseg.shapes.components import find_components
from medseg.training.patches.recipe import Recipe, Source
from medseg.training.patches.sampling import Groups

# Slices whose label map is read at once where a whole one is needed: the image is read along and thrown away.
SLAB_SLICES = 32


@dataclass(frozen=True)
class Places:
    """Where to put patches of one case.

    Args:
        labels: of each label the case holds, its voxels in groups that come equally often.
        anywhere: for samples that are put on no label: empty where any place will do, else one group of voxels.
    """

    labels: tuple[Groups, ...]
    anywhere: tuple[Groups, ...] = ()


@dataclass(eq=False)
class _Kept:
    """What was found of one source, and the lock of whoever is finding."""

    places: dict[str, Places] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


_KEPT: dict[int, _Kept] = {}  # by a source's id, as long as the source is there
_GUARD = threading.Lock()


def list_places(source: Source, recipe: Recipe) -> Places:
    """Where to put patches of a case; what needs its whole label map is found once and kept as long as the source.

    Args:
        source: the case.
        recipe: how places are drawn.
    Returns:
        the voxels, the same in every process.
    Raises:
        FormatError: the case is damaged.
        DatasetError: it has no reference, or the recipe draws lesions and does not say what the labels are.
    """
    labels = recipe.labels
    listed = tuple((voxels,) for _, voxels in sorted(source.locations.items()) if len(voxels))
    if recipe.sampling == "foreground" and (labels is None or labels.ignore is None):
        return Places(listed)
    if labels is None:
        raise DatasetError("lesions cannot be found without a label scheme", code="bad_labels", case=source.name)
    return _find_places(source, recipe.sampling, labels, listed)


def _find_places(source: Source, sampling: str, labels: LabelScheme, listed: tuple[Groups, ...]) -> Places:
    with _GUARD:
        if id(source) not in _KEPT:
            _KEPT[id(source)] = _Kept()
            weakref.finalize(source, _KEPT.pop, id(source), None).atexit = False
        kept = _KEPT[id(source)]
    key = f"{sampling} {labels.to_json()}"
    with kept.lock:
        if key not in kept.places:
            reference = read_reference(source)
            lesions = find_lesions(reference, labels) if sampling == "lesion" else listed
            kept.places[key] = Places(lesions, _list_labelled(reference, labels))
        return kept.places[key]


def find_lesions(reference: NDArray[Any], labels: LabelScheme) -> tuple[Groups, ...]:
    """The lesions of each class or region.

    Args:
        reference: label values, (a, b, c).
        labels: their meaning.
    Returns:
        per class or region that occurs, in the scheme's order, per 26-connected component, the largest first: some or
        all of its voxels, (n, 3), int32; of a label's many voxels 10000 are kept, equally many of each component.
    """
    found = []
    for name in labels.names:
        mask = labels.mask(reference, name)
        box = bound_mask(mask)
        if box is None:
            continue
        components, count = find_components(mask[box])
        first = np.array([span.start for span in box], np.int32)
        flat = components.reshape(-1)
        voxels = np.flatnonzero(flat)
        order = voxels[np.argsort(flat[voxels], kind="stable")]
        ends = np.cumsum(np.bincount(flat[voxels], minlength=count + 1)[1:])[:-1]
        quota = max(1, MAXIMUM_LOCATIONS // count)
        parts = [_thin(part, quota, number) for number, part in enumerate(np.split(order, ends))]
        found.append([_unravel(part, components.shape) + first for part in parts])
    return tuple(found)


def read_reference(source: Source) -> NDArray[Any]:
    """The whole label map of a case, (a, b, c), read slab by slab so that its image need not fit beside it."""
    slabs = []
    for start in range(0, source.shape[0], SLAB_SLICES):
        stop = min(start + SLAB_SLICES, source.shape[0])
        reference = source.read_patch((start, 0, 0), (stop, *source.shape[1:]))[1]
        if reference is None:
            raise DatasetError("it has no reference mask to train on", code="missing_mask", case=source.name)
        slabs.append(reference)
    return np.concatenate(slabs)


def _list_labelled(reference: NDArray[Any], labels: LabelScheme) -> tuple[Groups, ...]:
    """Voxels that somebody labelled, background too: a patch without any would teach nothing (nnU-Net's rule)."""
    if labels.ignore is None:
        return ()
    labelled = np.flatnonzero(reference != labels.ignore)
    if len(labelled) in (0, reference.size):
        return ()
    chosen = _thin(labelled, MAXIMUM_LOCATIONS, 0)
    return ([_unravel(chosen, reference.shape)],)


def _unravel(voxels: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[np.int32]:
    return np.stack(np.unravel_index(voxels, shape), axis=1).astype(np.int32)


def _thin(voxels: NDArray[np.intp], count: int, number: int) -> NDArray[np.intp]:
    """At most ``count`` of them, by a draw that depends on nothing but their number."""
    if len(voxels) <= count:
        return voxels
    generator = np.random.Generator(np.random.Philox(key=[number, len(voxels)]))
    return voxels[np.sort(generator.choice(len(voxels), count, replace=False))]
