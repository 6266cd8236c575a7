"""From the network's logits back to the scan's own grid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.preprocessing.blocks import LogitBlock, Region, cut_regions
from medseg.preprocessing.label_rule import LabelRule
from medseg.preprocessing.prepare import PreparedGrid, view_flipped
from medseg.preprocessing.reads import AxisReads, GridReads, list_reads

if TYPE_CHECKING:
    from torch import Tensor

# Loading the compiled loops takes as long as labelling this many voxels and channels without them (measured).
COMPILED_FROM = 2**22
# Outputs that are labelled together where nothing is copied; logits that are copied to be changed before.
PART_VOXELS = 2**24
PART_VALUES = 2**24
PART_ROWS = 8


def restore_blocks(
    blocks: Iterable[LogitBlock], grid: PreparedGrid, labels: LabelScheme, *, floor: float | None = None
) -> Segmentation:
    """The label map on the scan's own grid that a network's logits stand for, made block by block as they come.

    Args:
        blocks: they tile the prepared grid in the order of its first axis, then its second; any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
        floor: see ``bound_logits``; None for none.
    Returns:
        label values on the whole scan's grid in file order, 0 outside the box that was kept. Each logit is interpolated
        linearly in float64 and rounded once: to half precision where the network's logits are halves and no floor is
        given, else to float32. Softmax: the largest logit wins, of equal ones the lowest value; sigmoid: what is more
        likely than not is painted in the scheme's order. Besides the label map only the last plane of earlier blocks is
        held.
    Raises:
        GeometryError: the blocks do not tile the prepared grid, or have another number of channels than the labels.
    Source: nnU-Net v2, ``convert_predicted_logits_to_segmentation_with_correct_shape``.
    """
    reads, rule = list_reads(grid), LabelRule.of(labels)
    full = np.zeros(grid.shape, labels.value_type(), order="F")  # as files are written
    kept, compiled = view_kept_box(full, grid), is_worth_compiling(grid, labels)
    copies = floor is not None or rule.order is not None

    for region in cut_regions(blocks, (labels.channel_count, *grid.resampled_shape), reads.axes):
        for part in region.cut_rows(reads.axes[0], _choose_rows(region, reads, copies=copies)):
            logits = rule.arrange(as_resampled_type(part.logits, labels, floor))
            labelled = _pick_labels(logits, part.list_reads(reads.axes), rule, compiled=compiled)
            _paste(kept, labelled, part, reads)
            del part, logits
        del region  # before the next block is computed
    return Segmentation(full, grid.to_geometry())


def restore_segmentation(logits: Tensor, grid: PreparedGrid, labels: LabelScheme) -> Segmentation:
    """The label map on the scan's own grid that a network's logits stand for.

    Args:
        logits: (channel, a, b, c) on the prepared grid, any float type, any device.
        grid: the prepared case's.
        labels: what each channel stands for.
    Returns:
        as ``restore_blocks``.
    Raises:
        GeometryError: the logits have another shape than the grid and the labels say.
    """
    return restore_blocks([as_block(logits)], grid, labels)


def as_block(logits: Tensor) -> LogitBlock:
    """A whole prepared grid's logits, (channel, a, b, c), as one block."""
    return LogitBlock((0, 0), (logits.shape[1], logits.shape[2]), logits)


def bound_logits(logits: Tensor, labels: LabelScheme, floor: float | None) -> Tensor:
    """Logits whose interpolation keeps borders where they are.

    Between a sure voxel and an unsure one, the zero of interpolated logits lies close to the unsure one, so that what
    the network is less sure of (small lesions) shrinks with every resampling: by 3 to 5 % of its volume in phantoms.

    Args:
        logits: (channel, a, b, c).
        labels: softmax or sigmoid.
        floor: the lowest log-probability (softmax) or minus the largest size of a logit (sigmoid); None for no change.
    Returns:
        the same shape, float32 where there is a floor; the label of each voxel stays the same.
    """
    if floor is None:
        return logits
    logits = logits.float()
    if labels.output == "sigmoid":
        return logits.clamp(floor, -floor)
    # With very many classes even the likeliest one may lie below the floor; it must stay the likeliest.
    floor = min(floor, -2 * math.log(logits.shape[0]))
    return (logits - logits.logsumexp(0, keepdim=True)).clamp_min_(floor)


def as_resampled_type(logits: Tensor, labels: LabelScheme, floor: float | None) -> Tensor:
    """Logits in the type that interpolation rounds to: halves stay halves, all else and bounded ones are float32."""
    import torch

    if logits.device.type == "mps":  # knows no float64
        logits = logits.cpu()
    bounded = bound_logits(logits, labels, floor)
    return bounded if bounded.dtype == torch.half else bounded.float()


def is_worth_compiling(grid: PreparedGrid, labels: LabelScheme) -> bool:
    """Whether a scan is large enough for compiled loops to be worth loading."""
    return labels.channel_count * math.prod(grid.cropped_shape) >= COMPILED_FROM


def view_kept_box(full: NDArray[Any], grid: PreparedGrid) -> NDArray[Any]:
    """The kept box of an array in file order, seen in the network's axis order."""
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    return full.transpose(grid.axis_order)[view_flipped(grid.flipped)][box]


def _paste(kept: NDArray[Any], labelled: NDArray[Any], region: Region, reads: GridReads) -> None:
    place = []
    for axis, outputs in enumerate((region.rows, region.columns, slice(0, len(reads.axes[2].low)))):
        where, repeat = reads.expand(axis, outputs)
        place.append(where)
        labelled = labelled if repeat is None else labelled.take(repeat, axis=axis)
    kept[tuple(place)] = labelled


def _choose_rows(region: Region, reads: GridReads, *, copies: bool) -> int:
    """How many output rows of a region are labelled together."""
    import torch

    if copies or region.logits.dtype not in (torch.half, torch.float32):
        rows: int = region.rows.stop - region.rows.start
        return max(1, PART_VALUES * rows // region.logits.numel())
    outputs: int = (region.columns.stop - region.columns.start) * len(reads.axes[2].low)
    return max(1, PART_VOXELS // outputs // PART_ROWS) * PART_ROWS


def _pick_labels(
    logits: Tensor, reads: tuple[AxisReads, AxisReads, AxisReads], rule: LabelRule, *, compiled: bool
) -> NDArray[Any]:
    if compiled and logits.device.type == "cpu":
        from medseg.preprocessing.restore_compiled import label_compiled

        return label_compiled(logits, reads, rule)
    from medseg.preprocessing.restore_plain import label_plain

    return label_plain(logits, reads, rule)
