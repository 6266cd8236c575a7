"""The way back to a scan's grid with compiled loops, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medseg.preprocessing import restore_kernels
from medseg.preprocessing.label_rule import LabelRule, choose_threshold
from medseg.preprocessing.reads import AxisReads, cut_tiles
from medseg.preprocessing.restore_kernels import FloatKind, Source

# Outputs of a tile along a, b, c: small enough that mostly one class is left, long enough for vector instructions.
TILE = (8, 8, 128)

Ranges = tuple[int, int, int, int]


def label_compiled(logits: Tensor, reads: tuple[AxisReads, AxisReads, AxisReads], rule: LabelRule) -> NDArray[Any]:
    """The labels that logits stand for on another grid.

    Args:
        logits: (channel, a, b, c), half or float32, on a CPU.
        reads: the outputs along a, b, c.
        rule: what a channel writes.
    Returns:
        label values, (output a, b, c).
    """
    source, kind = _open_source(logits)
    edges = cut_tiles(reads[2], TILE[2])
    target = np.empty([len(axis.low) for axis in reads], rule.values.dtype)
    threshold = choose_threshold(logits.dtype)

    def work(ranges: Ranges) -> None:
        if rule.paints:
            restore_kernels.paint_strip(source, kind, reads, ranges, edges, rule.values, threshold, target)
        else:
            restore_kernels.label_strip(source, kind, reads, ranges, edges, rule.values, target)

    _run_in_threads(work, reads)
    return target


def resample_compiled(logits: Tensor, reads: tuple[AxisReads, AxisReads, AxisReads]) -> Tensor:
    """Logits on another grid.

    Args:
        logits: (channel, a, b, c), half or float32, on a CPU.
        reads: the outputs along a, b, c.
    Returns:
        (channel, output a, b, c), float32, rounded to the logits' own type.
    """
    source, kind = _open_source(logits)
    edges = cut_tiles(reads[2], TILE[2])
    target = np.empty((logits.shape[0], *(len(axis.low) for axis in reads)), np.float32)
    _run_in_threads(lambda ranges: restore_kernels.resample_strip(source, kind, reads, ranges, edges, target), reads)
    return torch.from_numpy(target)


def _open_source(logits: Tensor) -> tuple[Source, FloatKind]:
    """The logits' memory as whole numbers."""
    if logits.stride(3) != 1:
        logits = logits.contiguous()
    span = 1 + sum((n - 1) * step for n, step in zip(logits.shape, logits.stride(), strict=True))
    flat = logits.detach().as_strided((span,), (1,))
    half = logits.dtype == torch.half
    signed = flat.view(torch.int16 if half else torch.int32).numpy()
    unsigned = signed.view(np.uint16 if half else np.uint32)
    source = Source(signed, unsigned, logits.shape[0], (logits.stride(0), logits.stride(1), logits.stride(2)))
    return source, restore_kernels.HALF if half else restore_kernels.FLOAT32


def _run_in_threads(work: Callable[[Ranges], None], reads: Sequence[AxisReads]) -> None:
    sides = [list(pairwise(cut_tiles(axis, length).tolist())) for axis, length in zip(reads[:2], TILE, strict=False)]
    tasks: list[Ranges] = [(*a, *b) for a, b in product(*sides)]
    threads = min(len(tasks), torch.get_num_threads())
    if threads == 1:
        for ranges in tasks:
            work(ranges)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, tasks):
            pass
