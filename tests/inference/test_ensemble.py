"""The mean of several models' probabilities, whatever way each network looks at the scan."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.errors import GeometryError, ModelError, ResourceError
from medseg.core.labels import LabelScheme
from medseg.core.model import ModelRecord
from medseg.inference import Predictor, ensemble, finish_model
from medseg.inference.ensemble import Piece, average_probabilities, pick_labels
from medseg.inference.label_matching import match_channels
from medseg.preprocessing import PreparedGrid
from tests.inference.examples import write_model
from tests.preprocessing.examples import CLASSES, REGIONS, make_scan

SHAPE = (5, 6, 7)
TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3)))

Turn = tuple[tuple[int, int, int], tuple[bool, bool, bool]]


def make_grid(turn: Turn, shape: tuple[int, int, int] = SHAPE) -> PreparedGrid:
    order, flipped = turn
    a, b, c = (shape[axis] for axis in order)
    affine = tuple(tuple(row) for row in np.diag([1.0, 2.0, 3.0, 1.0]).tolist())
    return PreparedGrid(
        shape=shape, affine=affine, axis_order=order, flipped=flipped, crop_start=(0, 0, 0), crop_stop=(a, b, c),
        cropped_shape=(a, b, c), resampled_shape=(a, b, c), cropped_mm=(1.0, 1.0, 1.0), resampled_mm=(1.0, 1.0, 1.0),
    )  # fmt: skip


def make_chances(labels: LabelScheme, seed: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).random((labels.channel_count, *shape), np.float32)
    return values / values.sum(0) if labels.output == "softmax" else values


def stream(chances: NDArray[np.float32], grid: PreparedGrid, step: int) -> Iterator[Piece]:
    """What a model would give: pieces along its network's first axis, in its view."""
    turned = chances.transpose(0, *(1 + axis for axis in grid.axis_order))
    turned = turned[:, *(slice(None, None, -1 if flip else 1) for flip in grid.flipped)]
    for start in range(0, turned.shape[1], step):
        stop = min(start + step, turned.shape[1])
        yield slice(start, stop), turned[:, start:stop].copy()


def average(
    chances: Sequence[NDArray[np.float32]], grids: Sequence[PreparedGrid], schemes: Sequence[LabelScheme], step: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    streams = [
        stream(values, grid, step + number) for number, (values, grid) in enumerate(zip(chances, grids, strict=True))
    ]
    mask, mean = average_probabilities(streams, grids, schemes, with_probabilities=True)
    assert mean is not None
    assert mask.geometry.shape == mean.shape[1:]
    return mask.array, mean


@given(st.lists(st.sampled_from(TURNS), min_size=1, max_size=3), st.integers(1, 8), st.sampled_from([CLASSES, REGIONS]))
def test_the_mean_is_the_mean_whichever_way_the_networks_look(
    turns: list[Turn], step: int, labels: LabelScheme
) -> None:
    chances = [make_chances(labels, seed) for seed in range(len(turns))]
    mask, mean = average(chances, [make_grid(turn) for turn in turns], [labels] * len(turns), step)
    expected = np.mean(chances, axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert np.array_equal(mask, pick_labels(mean, labels))


def test_one_way_and_several_ways_give_the_same_bits() -> None:
    chances = [make_chances(CLASSES, seed) for seed in range(3)]
    along = make_grid(TURNS[0])
    same = average(chances, [along] * 3, [CLASSES] * 3)
    for turn in TURNS[1:]:
        other = average(chances, [along, make_grid(turn), along], [CLASSES] * 3)
        assert np.array_equal(other[0], same[0])
        assert np.array_equal(other[1], same[1])


def test_labels_that_are_equally_likely() -> None:
    ties = np.array([[0.4, 0.2, 0.1], [0.4, 0.4, 0.3], [0.2, 0.4, 0.6]], np.float32)
    assert pick_labels(ties, CLASSES).tolist() == [0, 1, 3]
    half = np.array([[0.5, 0.6, 0.6, 0.1], [0.9, 0.5, 0.9, 0.2]], np.float32)
    assert pick_labels(half, REGIONS).tolist() == [2, 1, 2, 0]  # later regions are painted over earlier ones
    assert pick_labels(ties, CLASSES).dtype == np.uint8
    listed = LabelScheme.make({"tumour": 3, "organ": 1})
    assert pick_labels(ties[[0, 2, 1]], listed).tolist() == [0, 1, 3]
    many = LabelScheme.make({"a": 1, "b": 300})
    assert pick_labels(ties, many).dtype == np.uint16


def test_channels_are_matched_by_name() -> None:
    other = LabelScheme.make({"tumour": 1, "organ": 2})
    first, second = make_chances(CLASSES, 0), make_chances(other, 1)
    grid = make_grid(TURNS[0])
    mask, mean = average([first, second], [grid] * 2, [CLASSES, other])
    np.testing.assert_allclose(mean, (first + second[[0, 2, 1]]) / 2, rtol=1e-6)
    assert set(np.unique(mask)) == {0, 1, 3}  # the first model's values


def test_one_label_means_the_same_with_either_output() -> None:
    soft = LabelScheme.make({"lesion": 1}, output="softmax")
    sigmoid = LabelScheme.make({"lesion": 1})
    assert sigmoid.output == "sigmoid"
    lesion = np.array([[0.2, 0.7, 0.9]], np.float32)
    both = np.concatenate([1 - lesion, lesion])
    np.testing.assert_allclose(match_channels(soft, sigmoid).take(lesion), both)
    np.testing.assert_allclose(match_channels(sigmoid, soft).take(both), lesion)
    assert pick_labels(both, soft).tolist() == pick_labels(lesion, sigmoid).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"organ": 1}, "tumour is missing"),
        ({"organ": 1, "tumour": 2, "cyst": 3, "vein": 4}, "cyst, vein is too many"),
        ({"organ": 1, "cyst": 3}, "tumour is missing and cyst is too many"),
        ({"organ": [1, 2], "tumour": [2]}, "labels of one exclude one another and those of the other may overlap"),
    ],
)
def test_other_labels_are_refused(other: dict[str, int | list[int]], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        match_channels(CLASSES, LabelScheme.make(other))


def cut_off(pieces: Iterator[Piece], count: int) -> Iterator[Piece]:
    yield from itertools.islice(pieces, count)


@pytest.mark.parametrize("turn", [TURNS[0], TURNS[-1]])
def test_a_model_that_does_not_cover_the_scan_is_an_error(turn: Turn) -> None:
    grids = [make_grid(TURNS[0]), make_grid(turn)]
    chances = make_chances(CLASSES, 0)
    streams = [stream(chances, grids[0], 2), cut_off(stream(chances, grids[1], 2), 1)]
    with pytest.raises(GeometryError, match="row"):
        average_probabilities(streams, grids, [CLASSES] * 2)


@pytest.mark.parametrize("fails", [False, True])
def test_the_temporary_file_is_gone_whatever_happens(tmp_path: Path, fails: bool) -> None:
    grids = [make_grid(TURNS[0]), make_grid(TURNS[-1])]
    chances = make_chances(CLASSES, 0)
    seen: list[list[Path]] = []

    def watch(pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            yield piece
            seen.append(list(tmp_path.iterdir()))
            if fails:
                raise ModelError("the network gives numbers that are not finite")

    streams = [stream(chances, grids[0], 2), watch(stream(chances, grids[1], 2))]
    if fails:
        with pytest.raises(ModelError):
            average_probabilities(streams, grids, [CLASSES] * 2, folder=tmp_path)
    else:
        average_probabilities(streams, grids, [CLASSES] * 2, folder=tmp_path)
    assert seen
    assert seen[0] == []  # not even a process that is killed leaves anything
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_temporary_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ensemble.os, "posix_fallocate", fill)
    grids = [make_grid(TURNS[0]), make_grid(TURNS[-1])]
    chances = make_chances(CLASSES, 0)
    with pytest.raises(ResourceError, match="No space left on device") as caught:
        average_probabilities([stream(chances, grid, 2) for grid in grids], grids, [CLASSES] * 2)
    assert caught.value.code == "disk"
    assert "TMPDIR" in str(caught.value)


def test_streams_are_closed_when_one_fails() -> None:
    closed: list[int] = []
    grid, chances = make_grid(TURNS[0]), make_chances(CLASSES, 0)

    def watch(number: int) -> Iterator[Piece]:
        try:
            for piece in stream(chances, grid, 2):
                yield piece
                if number == 1:
                    raise ModelError("the network gives numbers that are not finite")
        finally:
            closed.append(number)

    with pytest.raises(ModelError, match="not finite"):
        average_probabilities([watch(0), watch(1), watch(2)], [grid] * 3, [CLASSES] * 3)
    assert sorted(closed) == [0, 1, 2]


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 1, 2)])
def test_models_of_other_spacings_axes_and_networks_are_averaged(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    write_model(tmp_path / "a", folds=(0,))
    plan, configuration = write_model(tmp_path / "b", folds=(1,), dimensions=2)
    coarser = configuration.model_copy(update={"spacing_mm": (None, 1.4, 1.2)})
    other = plan.model_copy(update={"axis_order": axes, "configurations": {coarser.name: coarser}})
    finish_model(tmp_path / "b", other, ModelRecord.read(tmp_path / "b" / "model.json"))
    volume = make_scan()[0]
    single = [Predictor.load(tmp_path / name, device="cpu").predict(volume, with_probabilities=True) for name in "ab"]
    both = Predictor.load([tmp_path / "a", tmp_path / "b"], device="cpu").predict(volume, with_probabilities=True)
    assert both.probabilities is not None
    expected = np.mean([prediction.probabilities for prediction in single], axis=0)
    np.testing.assert_allclose(both.probabilities, expected, atol=1e-6)
    assert np.array_equal(both.segmentation.array, pick_labels(both.probabilities, CLASSES))
