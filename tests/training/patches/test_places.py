"""Lesions come equally often whatever their size, and patches lie where something was labelled."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.training.patches.loader import Recipe, iterate_batches
from medseg.training.patches.places import SLAB_SLICES, find_lesions, list_places, read_reference
from medseg.training.patches.reading import read_batch
from medseg.training.patches.sampling import generator_of, is_on_label, place_patch
from tests.training.examples import ArraySource

SCHEME = LabelScheme.make({"one": 1, "two": 2})
REGIONS = LabelScheme.make({"whole": [1, 2], "core": 2})
IGNORING = LabelScheme.make({"one": 1, "two": 2, "ignore": 3})


class MapSource(ArraySource):
    """A case with a label map of its own."""

    def __init__(self, labels: NDArray[np.uint8], scheme: LabelScheme = SCHEME) -> None:
        places = {
            index: list(zip(*np.nonzero(scheme.mask(labels, n)), strict=True)) for index, n in enumerate(scheme.names)
        }
        super().__init__(labels.shape, places, 0, "map")
        object.__setattr__(self, "map", labels)
        object.__setattr__(self, "reads", Counter())

    @property
    def labels(self) -> NDArray[np.uint8]:
        self.reads["labels"] += 1  # type: ignore[attr-defined]
        return self.map  # type: ignore[attr-defined, no-any-return]


def make_map() -> NDArray[np.uint8]:
    """A large lesion around label 2, two voxels that touch by a corner, and one far away."""
    labels = np.zeros((40, 30, 30), np.uint8)
    labels[2:14, 3:20, 4:20] = 1
    labels[5:9, 6:9, 6:9] = 2
    labels[35, 25, 25] = 1
    labels[36, 26, 26] = 1
    labels[39, 0, 29] = 1
    return labels


@pytest.mark.parametrize("scheme", [SCHEME, REGIONS])
def test_lesions_are_scipys_components(scheme: LabelScheme) -> None:
    labels = make_map()
    found = find_lesions(labels, scheme)
    for name, groups in zip(scheme.names, found, strict=True):
        expected, count = ndimage.label(np.isin(labels, scheme.labels[name]), np.ones((3, 3, 3)))  # type: ignore[attr-defined]
        assert len(groups) == count
        sizes = [int((expected == number).sum()) for number in range(1, count + 1)]
        assert [len(group) for group in groups] == sorted((min(s, 10_000 // count) for s in sizes), reverse=True)
        for group in groups:
            assert len(np.unique(group, axis=0)) == len(group)
            assert len({int(expected[tuple(voxel)]) for voxel in group} - {0}) == 1
    assert found[0][-1].tolist() == [[39, 0, 29]]


def test_components_come_equally_often_whatever_their_size() -> None:
    source, labels = MapSource(make_map()), make_map()
    recipe = Recipe((1, 1, 1), (1, 1, 1), 2, 1.0, 0, sampling="lesion", labels=SCHEME)
    parts, _ = ndimage.label(labels == 1, np.ones((3, 3, 3)))  # type: ignore[attr-defined]
    seen = Counter[tuple[int, int]]()
    for batch_number in range(600):
        for slot in range(2):
            rng = generator_of(0, batch_number * 2 + slot)
            assert is_on_label(rng, slot, 2, 1.0)
            at = place_patch(rng, labels.shape, (1, 1, 1), list_places(source, recipe).labels)
            seen[int(labels[at]), int(parts[at])] += 1
    assert seen[2, 0] == pytest.approx(600, abs=80)  # the other label, one component
    assert all(seen[1, part] == pytest.approx(200, abs=50) for part in (1, 2, 3))
    assert set(seen) == {(2, 0), (1, 1), (1, 2), (1, 3)}


def test_the_label_map_is_read_once_in_slabs() -> None:
    source = MapSource(make_map())
    recipe = Recipe((4, 4, 4), (4, 4, 4), 2, 1.0, 0, sampling="lesion", labels=SCHEME)
    first = list_places(source, recipe)
    slabs = -(-40 // SLAB_SLICES)
    assert source.reads["labels"] == slabs == 2  # type: ignore[attr-defined]
    assert list_places(source, recipe) is first
    assert source.reads["labels"] == slabs  # type: ignore[attr-defined]
    assert np.array_equal(read_reference(source), make_map())
    other = MapSource(make_map())
    assert list_places(other, recipe) is not first
    assert all(
        np.array_equal(a, b) for x, y in zip(list_places(other, recipe).labels, first.labels, strict=True)
        for a, b in zip(x, y, strict=True)
    )  # fmt: skip


def test_threads_change_nothing_in_which_lesions_come() -> None:
    recipe = Recipe((6, 6, 6), (8, 8, 8), 3, 0.5, 4, sampling="lesion", labels=SCHEME)
    runs = [
        [batch.images.sum().item() for batch in iterate_batches([MapSource(make_map())] * 3, recipe, 0, 12, threads=n)]
        for n in (1, 4)
    ]
    assert runs[0] == runs[1]


def test_a_large_lesion_is_thinned_evenly() -> None:
    labels = np.zeros((60, 40, 40), np.uint8)
    labels[5:55, 5:35, 5:35] = 1  # 45 000 voxels
    ((group,),) = find_lesions(labels, LabelScheme.make({"one": 1}))
    assert group.shape == (10_000, 3)
    assert len(np.unique(group, axis=0)) == 10_000
    assert labels[tuple(group.T)].all()
    assert np.allclose(group.mean(0), [29.5, 19.5, 19.5], atol=0.5)
    (again,) = find_lesions(labels.copy(), LabelScheme.make({"one": 1}))
    assert np.array_equal(again[0], group)


def test_patches_without_a_label_still_lie_where_something_was_labelled() -> None:
    labels = np.full((30, 20, 20), 3, np.uint8)  # nobody looked
    labels[4, 3:8, 5] = 0  # a scribble of background
    labels[25, 15, 15] = 1
    source = MapSource(labels, IGNORING)
    recipe = Recipe((3, 3, 3), (3, 3, 3), 4, 0.5, 0, labels=IGNORING)
    for number in range(40):
        batch = read_batch([source], recipe, number)
        assert (batch.labels != 3).flatten(1).any(1).all()
        assert (batch.labels[2:] == 1).flatten(1).any(1).all()
    seen = torch_background(source, recipe)
    assert seen > 20


def torch_background(source: MapSource, recipe: Recipe) -> int:
    """How many of the patches that are put on no label show the scribble."""
    batches = [read_batch([source], recipe, number) for number in range(40)]
    return sum(int((batch.labels[:2] == 0).flatten(1).any(1).sum()) for batch in batches)


@pytest.mark.parametrize("fill", [0, 3])
def test_all_or_nothing_labelled_means_any_place(fill: int) -> None:
    places = list_places(
        MapSource(np.full((9, 9, 9), fill, np.uint8), IGNORING),
        Recipe((3, 3, 3), (3, 3, 3), 4, 0.5, 0, labels=IGNORING),
    )
    assert places.labels == places.anywhere == ()


def test_slices_draw_lesions_of_the_volume() -> None:
    recipe = Recipe((1, 6, 6), (1, 8, 8), 4, 1.0, 0, sampling="lesion", labels=SCHEME)
    for number in range(10):
        batch = read_batch([MapSource(make_map())], recipe, number)
        assert batch.images.shape == (4, 1, 1, 8, 8)
        assert (batch.labels[:, :, 1:-1, 1:-1] > 0).flatten(1).any(1).all()


def test_lesions_need_to_know_what_the_labels_are() -> None:
    recipe = Recipe((3, 3, 3), (3, 3, 3), 1, 1.0, 0, sampling="lesion")
    with pytest.raises(DatasetError, match="label scheme"):
        list_places(MapSource(make_map()), recipe)
