"""Logits of a whole prepared scan, block by block: what is finished is handed on and forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from medseg.core.errors import ModelError
from medseg.inference.sliding_window import Forward, average_flips, pad_to_patch, place_rows, weigh_window
from medseg.preprocessing import LogitBlock

# Windows and their mirrored copies that go through the network together; more costs memory and gains nothing on a CPU.
CPU_BATCH_VOXELS = 2**19
GPU_BATCH_VOXELS = 2**23
# Smaller blocks cost more calls than they save memory: 8 MB of halves.
BLOCK_VALUES = 2**22

Band = tuple[int, int]
Place = tuple[Band, Band, Sequence[slice]]
# Told of a network, by its number, and of its own logits.
Look = Callable[[int, Tensor], None]


def choose_together(patch_size: Sequence[int], device: torch.device) -> int:
    """How many windows go through the network at once where nothing else limits it.

    Args:
        patch_size: the window.
        device: where the network runs.
    Returns:
        at least 1.
    """
    limit = GPU_BATCH_VOXELS if device.type == "cuda" else CPU_BATCH_VOXELS
    return max(1, limit // math.prod(patch_size))


@torch.inference_mode()
def stream_logits(
    forwards: Sequence[Forward],
    image: Tensor,
    patch_size: Sequence[int],
    outputs: int,
    *,
    overlap: float = 0.5,
    mirror_axes: Sequence[int] = (),
    device: torch.device | None = None,
    together: int | None = None,
    sum_device: torch.device | None = None,
    look: Look | None = None,
) -> Iterator[LogitBlock]:
    """The mean logits of one or several networks, in blocks that are handed on as soon as they are finished.

    Args:
        forwards: the networks, each (window, channel, a, b, c) to logits (window, output, a, b, c).
        image: (channel, a, b, c), normalised, in the plan's axis order, of any size.
        patch_size: the window; 1 along the first axis for a 2D network.
        outputs: channels of the logits.
        overlap: the share of a window that neighbours share.
        mirror_axes: the axes (0 = a) to flip; logits are averaged over all combinations.
        device: where the windows are computed; the image's where None.
        together: how many windows go through a network at once; what suits the device where None.
        sum_device: where the windows are summed; ``device`` where None.
        look: told of each network's own mean logits, (output, a, b, c), block by block: its number and what is not to
            be kept or changed.
    Returns:
        blocks (output, a, b, whole third axis) in half precision, by rising a, then b; together they are the scan.
        Held at a time: the rows from the first unfinished one to the end of its window, in halves.
    Raises:
        ModelError: a network gives numbers beyond half precision, or none at all.
    Source: Isensee et al., "nnU-Net" (2021). Sums, weights and the mean over networks are rounded to half precision as
        nnU-Net v2 does and in its order, so that equal networks give equal bits.
    """
    device = device or image.device
    padded, inner = pad_to_patch(image, patch_size)
    axes = [axis for axis in mirror_axes if patch_size[axis] > 1]  # flipping one voxel changes nothing
    together = together or choose_together(patch_size, device)
    rows_a, rows_b, rows_c = (
        place_rows(length, size, overlap) for length, size in zip(padded.shape[1:], patch_size, strict=True)
    )
    bands_a, bands_b = _cut_bands(rows_a, rows_b, padded.shape[1:], outputs)
    sums = _Sums(bands_a, bands_b, padded.shape[3], len(forwards), outputs, patch_size, sum_device or device)
    at_once = max(1, together // 2 ** len(axes))
    for number, band in enumerate(bands_a):
        group = [row for row in rows_a if band[0] <= row < band[1]]
        tiles = list(product(group, rows_b, rows_c))
        finished = 0
        for first in range(0, len(tiles), at_once):
            chunk = tiles[first : first + at_once]
            windows = torch.stack([padded[:, *_region(tile, patch_size)] for tile in chunk]).to(device)
            for fold, forward in enumerate(forwards):
                answers = average_flips(forward, windows, axes, together)
                for tile, logits in zip(chunk, answers, strict=True):
                    sums.add(fold, tile, logits)
            following = tiles[first + at_once] if first + at_once < len(tiles) else None
            while finished < len(bands_b) and _is_finished(bands_b[finished], following, group[-1]):
                here = (bands_a[number], bands_b[finished], inner)
                mean = sums.finish(number, finished, partial(_show_inner, look, here) if look else None)
                yield from _cut_padding(*here, mean)
                finished += 1


def predict_logits(
    forward: Forward,
    image: Tensor,
    patch_size: Sequence[int],
    *,
    overlap: float = 0.5,
    mirror_axes: Sequence[int] = (),
    device: torch.device | None = None,
    together: int | None = None,
) -> Tensor:
    """The logits of a whole prepared scan in one piece, for those who have the memory.

    Args:
        forward: the network, (window, channel, a, b, c) to logits (window, output, a, b, c).
        image, patch_size, overlap, mirror_axes, device, together: as for ``stream_logits``.
    Returns:
        (output, a, b, c), half precision, on ``device``.
    Raises:
        ModelError: the network gives numbers beyond half precision, or none at all.
    """
    device = device or image.device
    corner = pad_to_patch(image, patch_size)[0][None, :, *(slice(0, size) for size in patch_size)]
    with torch.inference_mode():
        outputs = forward(corner.to(device)).shape[1]
    result = torch.empty((outputs, *image.shape[1:]), dtype=torch.half, device=device)
    blocks = stream_logits(
        [forward],
        image,
        patch_size,
        outputs,
        overlap=overlap,
        mirror_axes=mirror_axes,
        device=device,
        together=together,
    )
    for block in blocks:
        result[:, block.start[0] : block.stop[0], block.start[1] : block.stop[1]] = block.logits
    return result


class _Sums:
    """Weighted sums of windows, a tensor per network and pair of bands, made when first needed and freed when done."""

    def __init__(
        self,
        bands_a: Sequence[Band],
        bands_b: Sequence[Band],
        columns: int,
        networks: int,
        outputs: int,
        patch_size: Sequence[int],
        device: torch.device,
    ) -> None:
        self.bands_a, self.bands_b = bands_a, bands_b
        self.columns, self.networks, self.outputs = columns, networks, outputs
        self.device = device
        self.weights = weigh_window(tuple(patch_size)).to(device)
        self.totals: dict[tuple[int, int], list[Tensor]] = {}
        self.divisors: dict[tuple[int, int], Tensor] = {}

    def add(self, network: int, tile: tuple[int, int, int], logits: Tensor) -> None:
        """Add one network's answer to one window."""
        weighted = logits.to(self.device) * self.weights
        size_a, size_b, size_c = self.weights.shape
        third = slice(tile[2], tile[2] + size_c)
        for i, band_a in enumerate(self.bands_a):
            here_a, there_a = _overlap(band_a, (tile[0], tile[0] + size_a))
            if here_a.start >= here_a.stop:
                continue
            for j, band_b in enumerate(self.bands_b):
                here_b, there_b = _overlap(band_b, (tile[1], tile[1] + size_b))
                if here_b.start >= here_b.stop:
                    continue
                totals, divisor = self._open(i, j)
                totals[network][:, here_a, here_b, third] += weighted[:, there_a, there_b]
                if network == 0:
                    divisor[here_a, here_b, third] += self.weights[there_a, there_b]

    def _open(self, i: int, j: int) -> tuple[list[Tensor], Tensor]:
        if (i, j) not in self.totals:
            (a, b), (c, d) = self.bands_a[i], self.bands_b[j]
            shape = (b - a, d - c, self.columns)
            self.totals[i, j] = [
                torch.zeros((self.outputs, *shape), dtype=torch.half, device=self.device) for _ in range(self.networks)
            ]
            self.divisors[i, j] = torch.zeros(shape, dtype=torch.half, device=self.device)
        return self.totals[i, j], self.divisors[i, j]

    def finish(self, i: int, j: int, look: Look | None = None) -> Tensor:
        """The mean logits of a pair of bands, (output, a, b, c), which are forgotten here."""
        totals, divisor = self.totals.pop((i, j)), self.divisors.pop((i, j))
        for number, total in enumerate(totals):
            total.div_(divisor)
            if look is not None:
                look(number, total)
        mean = totals[0]
        for total in totals[1:]:
            mean += total
        if len(totals) > 1:
            mean /= len(totals)
        if not torch.isfinite(mean).all():
            raise ModelError(
                "the network gives numbers that are not finite, or beyond half precision", code="bad_logits",
                remedy="The weights or the scan's intensities are not what the model was trained with",
            )  # fmt: skip
        return mean


def _cut_bands(
    rows_a: Sequence[int], rows_b: Sequence[int], lengths: Sequence[int], outputs: int
) -> tuple[list[Band], list[Band]]:
    """Bands along the first two axes, each from a window's beginning to another's, not much smaller than worth it."""
    bands_a = _merge(rows_a, lengths[0], BLOCK_VALUES // (outputs * lengths[1] * lengths[2]))
    tallest = max(stop - start for start, stop in bands_a)
    return bands_a, _merge(rows_b, lengths[1], BLOCK_VALUES // (outputs * tallest * lengths[2]))


def _merge(rows: Sequence[int], length: int, smallest: int) -> list[Band]:
    edges = [0]
    for row in rows[1:]:
        if row - edges[-1] >= smallest:
            edges.append(row)
    return list(zip(edges, [*edges[1:], length], strict=True))


def _is_finished(band: Band, following: tuple[int, int, int] | None, last_row: int) -> bool:
    """Whether no window that is still to come reaches the band, given the next one."""
    return following is None or (following[0] == last_row and following[1] >= band[1])


def _region(tile: Sequence[int], patch_size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(tile, patch_size, strict=True))


def _overlap(band: Band, window: Band) -> tuple[slice, slice]:
    """What a band and a window share, as slices of the band and of the window; empty where they share nothing."""
    start, stop = max(band[0], window[0]), min(band[1], window[1])
    return slice(start - band[0], stop - band[0]), slice(start - window[0], stop - window[0])


def _show_inner(look: Look, here: Place, network: int, logits: Tensor) -> None:
    for block in _cut_padding(*here, logits):
        look(network, block.logits)


def _cut_padding(band_a: Band, band_b: Band, inner: Sequence[slice], logits: Tensor) -> Iterator[LogitBlock]:
    """The part of a pair of bands that lies in the scan; nothing where none does."""
    (a, here_a), (b, here_b) = (_inside(band, part) for band, part in zip((band_a, band_b), inner, strict=False))
    if a[0] < a[1] and b[0] < b[1]:
        yield LogitBlock((a[0], b[0]), (a[1], b[1]), logits[:, here_a, here_b, inner[2]])


def _inside(band: Band, inner: slice) -> tuple[Band, slice]:
    start, stop = max(band[0], inner.start), min(band[1], inner.stop)
    return (start - inner.start, stop - inner.start), slice(start - band[0], stop - band[0])
