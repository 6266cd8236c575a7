"""The way back to the scan's grid equals skimage's, rounded to halves, to the last bit."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medseg.core.errors import GeometryError
from medseg.core.labels import LabelScheme
from medseg.preprocessing import (
    LogitBlock,
    PreparedGrid,
    bound_logits,
    restore_blocks,
    restore_probabilities,
    restore_segmentation,
    stream_probabilities,
)
from medseg.preprocessing import restore as restore_module
from medseg.preprocessing.label_rule import LabelRule, choose_threshold
from medseg.preprocessing.reads import list_reads, make_reads
from medseg.preprocessing.restore_compiled import label_compiled, resample_compiled
from medseg.preprocessing.restore_plain import label_plain, resample_plain
from tests.preprocessing.logits import (
    SIGMOID,
    SOFTMAX,
    cut_blocks,
    grids,
    label_slowly,
    make_grid,
    make_logits,
    resize_as_nnunet,
    turn_back,
)

schemes = st.sampled_from([SOFTMAX, SIGMOID])
kinds = st.sampled_from(["noise", "smooth", "ties"])


ways = pytest.mark.parametrize("way", ["compiled", "plain"])


@contextmanager
def using(way: str) -> Iterator[None]:
    """One of the two implementations, whatever the size, and small parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restore_module, "COMPILED_FROM", 0 if way == "compiled" else 2**60)
        patch.setattr(restore_module, "PART_VOXELS", 300)
        patch.setattr(restore_module, "PART_VALUES", 600)
        yield


@ways
@given(grid=grids(), labels=schemes, kind=kinds, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_no_voxel_differs(way: str, grid: PreparedGrid, labels: LabelScheme, kind: str, seed: int) -> None:
    logits = make_logits(labels, grid, kind, seed)
    expected = label_slowly(logits, grid, labels)
    with using(way):
        result = restore_segmentation(logits, grid, labels)
    assert result.array.dtype == np.uint8
    assert np.array_equal(result.array, expected)


@pytest.mark.parametrize("number_type", [torch.half, torch.float32])
@given(grid=grids(), kind=kinds, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_both_implementations_give_the_same_bits(
    number_type: torch.dtype, grid: PreparedGrid, kind: str, seed: int
) -> None:
    logits = make_logits(SOFTMAX, grid, kind, seed).to(number_type)
    if number_type == torch.float32:
        logits *= 1 + 2**-13  # no half any more
    reads = list_reads(grid).axes
    resampled = resample_compiled(logits, reads)
    assert torch.equal(resampled, resample_plain(logits, reads))
    for labels in (SOFTMAX, LabelScheme.make({"a": [1, 2, 3, 4], "b": [2, 3, 4], "c": [3, 4], "d": [4]})):
        rule = LabelRule.of(labels)
        assert np.array_equal(label_compiled(logits, reads, rule), label_plain(logits, reads, rule))
    if grid.coarse_axis_back is None:
        expected = resize_as_nnunet(logits, grid).astype(np.float32)
        assert np.array_equal(resampled.numpy(), expected)


def test_numbers_between_two_halves_are_rounded_once() -> None:
    # The middle of two halves and a little: through float32 it would become the middle, then the even half.
    grid = make_grid((1, 1, 2048), (1, 1, 2))
    pairs = np.array([[1.0, 1.0 + 2**-10], [2.0**-24, 2.0**-23], [-3.0, -3.0 - 2**-9], [2.0**-14, 2.0**-14 - 2.0**-24]])
    logits = torch.from_numpy(pairs.reshape(4, 1, 1, 2)).half()
    for resample in (resample_compiled, resample_plain):
        result = resample(logits, list_reads(grid).axes).numpy()
        assert np.array_equal(result, resize_as_nnunet(logits, grid).astype(np.float32))


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 5), (5, 1), (7, 7), (341, 512), (200, 300), (13, 4), (90, 271)])
def test_weights_are_scipys(n_in: int, n_out: int) -> None:
    reads = make_reads(n_in, n_out)
    for values in np.random.default_rng(0).normal(size=(20, n_in)):
        expected = ndimage.zoom(values, n_out / n_in, order=1, mode="nearest", grid_mode=True)
        assert np.array_equal(values[reads.low] * reads.weight_low + values[reads.high] * reads.weight_high, expected)


@st.composite
def cut_points(draw: st.DrawFn, length: int) -> list[int]:
    return sorted(draw(st.sets(st.integers(1, max(1, length - 1)), max_size=4 if length > 1 else 0)))


@ways
@given(data=st.data(), grid=grids(), labels=schemes, kind=kinds, floor=st.sampled_from([None, -3.0]))
@settings(max_examples=40)
def test_blocks_make_up_the_whole(
    way: str, data: st.DataObject, grid: PreparedGrid, labels: LabelScheme, kind: str, floor: float | None
) -> None:
    logits = make_logits(labels, grid, kind, 5)
    edges_a = data.draw(cut_points(grid.resampled_shape[0]))
    edges_b = data.draw(cut_points(grid.resampled_shape[1]))
    blocks = cut_blocks(logits, edges_a, edges_b)
    expected = restore_segmentation(bound_logits(logits, labels, floor), grid, labels).array
    whole = restore_probabilities(bound_logits(logits, labels, floor), grid, labels)
    with using(way):
        assert np.array_equal(restore_blocks(iter(blocks), grid, labels, floor=floor).array, expected)
        pieces = restore_probabilities(iter(blocks), grid, labels, floor=floor)
    # exp is computed in vectors and in single numbers, whose last bits differ.
    assert np.allclose(pieces, whole, rtol=0, atol=1e-6)


@given(grids(), schemes, st.integers(0, 9))
@settings(max_examples=25)
def test_probabilities_are_those_of_the_resampled_logits(grid: PreparedGrid, labels: LabelScheme, seed: int) -> None:
    logits = make_logits(labels, grid, "noise", seed)
    values = torch.from_numpy(resize_as_nnunet(logits, grid).astype(np.float32))
    chances = torch.softmax(values, 0) if labels.output == "softmax" else torch.sigmoid(values)
    expected = turn_back(chances.numpy(), grid)
    if labels.output == "softmax":
        expected[0] = turn_back(chances[0].numpy(), grid, 1.0)
    assert np.allclose(restore_probabilities(logits, grid, labels), expected, rtol=0, atol=1e-6)


def test_pieces_have_the_same_rows_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = make_grid((20, 9, 11), (13, 7, 8), margin=(3, 1, 0), axis_order=(2, 0, 1), flipped=(True, False, True))
    voxels = 4 * (9 + 3) * (11 + 1)
    monkeypatch.setattr("medseg.preprocessing.probabilities.PIECE_VALUES", 3 * voxels)
    logits = make_logits(SOFTMAX, grid, "noise", 0)
    runs = []
    for edges_a, edges_b in [([], []), ([1, 2, 3, 9], [4]), (list(range(1, 13)), [1, 6])]:
        runs.append(list(stream_probabilities(cut_blocks(logits, edges_a, edges_b), grid, SOFTMAX)))
    assert [rows for rows, _ in runs[0]] == [slice(a, min(a + 3, 27)) for a in range(0, 27, 3)]
    assert all(piece.shape == (4, rows.stop - rows.start, 12, 12) for rows, piece in runs[0])
    for run in runs[1:]:
        assert [rows for rows, _ in run] == [rows for rows, _ in runs[0]]
        for (_, piece), (_, expected) in zip(run, runs[0], strict=True):
            assert np.allclose(piece, expected, rtol=0, atol=1e-6)


def test_a_block_is_let_go_before_the_next_is_asked_for() -> None:
    grid = make_grid((12, 12, 12), (8, 8, 8))
    alive: list[weakref.ref[torch.Tensor]] = []

    def generate() -> object:
        for a in range(0, 8, 4):
            for b in range(0, 8, 4):
                assert all(earlier() is None for earlier in alive)
                logits = torch.zeros((4, 4, 4, 8), dtype=torch.half)
                alive.append(weakref.ref(logits))
                block = LogitBlock((a, b), (a + 4, b + 4), logits)
                del logits
                yield block
                del block

    restore_blocks(generate(), grid, SOFTMAX)
    assert len(alive) == 4


@pytest.mark.parametrize(
    "faulty",
    [
        lambda blocks: blocks[:-1],
        lambda blocks: blocks[1:],
        lambda blocks: [blocks[0], *blocks],
        lambda blocks: [blocks[0], blocks[2], blocks[1], blocks[3]],
        lambda blocks: [LogitBlock(blocks[0].start, blocks[0].stop, blocks[0].logits[:3]), *blocks[1:]],
        lambda blocks: [LogitBlock((0, 0), (5, 3), blocks[0].logits), *blocks[1:]],
        lambda blocks: [],
    ],
)
def test_blocks_that_do_not_tile_are_refused(faulty: object) -> None:
    grid = make_grid((9, 9, 9), (6, 6, 6))
    blocks = cut_blocks(make_logits(SOFTMAX, grid, "noise", 0), [4], [3])
    with pytest.raises(GeometryError, match="expected"):
        restore_blocks(faulty(blocks), grid, SOFTMAX)


def test_what_is_painted_is_what_the_sigmoid_says() -> None:
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.half)
    halves = halves[torch.isfinite(halves)]
    assert torch.equal(halves.float() > choose_threshold(torch.half), torch.sigmoid(halves.float()) > 0.5)
    assert choose_threshold(torch.float32) == 0.0


def test_many_classes_need_two_bytes() -> None:
    labels = LabelScheme.make({f"label {n}": n for n in range(1, 300)})
    grid = make_grid((5, 6, 7), (4, 4, 4))
    logits = make_logits(labels, grid, "noise", 1)
    expected = turn_back(resize_as_nnunet(logits, grid).argmax(0).astype(np.uint16), grid)
    result = restore_segmentation(logits, grid, labels).array
    assert result.dtype == np.uint16
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("number_type", [torch.bfloat16, torch.float64])
def test_other_number_types_are_resampled_in_float32(number_type: torch.dtype) -> None:
    grid = make_grid((9, 9, 9), (6, 6, 6))
    logits = make_logits(SOFTMAX, grid, "noise", 0).to(number_type)
    expected = restore_segmentation(logits.float(), grid, SOFTMAX).array
    assert np.array_equal(restore_segmentation(logits, grid, SOFTMAX).array, expected)
