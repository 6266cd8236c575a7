"""Grids, logits and a slow, plain way back to hold the fast ones against."""

import numpy as np
import torch
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from medseg.core.labels import LabelScheme
from medseg.preprocessing import LogitBlock, PreparedGrid

SOFTMAX = LabelScheme.make({"liver": 1, "kidney": 3, "spleen": 7})
SIGMOID = LabelScheme.make({"whole": [1, 2, 3], "core": [2, 3], "active": [3]}, paint_order=(1, 2, 3))


def make_grid(
    cropped: tuple[int, ...],
    resampled: tuple[int, ...],
    *,
    axis_order: tuple[int, ...] = (0, 1, 2),
    flipped: tuple[bool, ...] = (False, False, False),
    margin: tuple[int, ...] = (1, 0, 2),
    cropped_mm: tuple[float, ...] = (1.0, 1.0, 1.0),
    resampled_mm: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> PreparedGrid:
    """A grid whose kept box, in the network's axes, begins ``margin`` voxels from the scan's edge."""
    network = [n + 2 * m + 1 for n, m in zip(cropped, margin, strict=True)]
    shape = [network[axis_order.index(axis)] for axis in range(3)]
    return PreparedGrid(
        shape=tuple(shape),
        affine=tuple(tuple(row) for row in np.eye(4).tolist()),
        axis_order=axis_order,
        flipped=flipped,
        crop_start=margin,
        crop_stop=tuple(m + n for n, m in zip(cropped, margin, strict=True)),
        cropped_shape=cropped,
        resampled_shape=resampled,
        cropped_mm=cropped_mm,
        resampled_mm=resampled_mm,
    )


sizes = st.tuples(*[st.sampled_from([1, 2, 3, 5, 8, 11, 17])] * 3)


@st.composite
def grids(draw: st.DrawFn) -> PreparedGrid:
    """Grids with any axis order and flips, some with a coarse axis."""
    thick = draw(st.sampled_from([None, 0, 1, 2]))
    spacing_mm = [1.0, 1.0, 1.0]
    if thick is not None:
        spacing_mm[thick] = 5.0
    cropped = draw(sizes)
    return make_grid(
        cropped,
        draw(st.one_of(st.just(cropped), sizes)),
        axis_order=tuple(draw(st.permutations([0, 1, 2]))),
        flipped=draw(st.tuples(*[st.booleans()] * 3)),
        margin=draw(st.tuples(*[st.integers(0, 2)] * 3)),
        resampled_mm=tuple(spacing_mm),
    )


def make_logits(labels: LabelScheme, grid: PreparedGrid, kind: str, seed: int) -> torch.Tensor:
    """Halves: ``noise``, ``smooth`` with one class far ahead mostly, or ``ties`` of few different values."""
    rng = np.random.default_rng(seed)
    shape = (labels.channel_count, *grid.resampled_shape)
    if kind == "ties":
        values = rng.choice([-1.0, 0.0, -0.0, 0.5, 1.0], shape)
    elif kind == "smooth":
        values = ndimage.gaussian_filter(rng.normal(size=shape), (0, 2, 2, 2)) * 60
    else:
        values = rng.normal(0, 3, shape)
    return torch.from_numpy(values).half()


def resize_as_nnunet(logits: torch.Tensor, grid: PreparedGrid) -> np.ndarray:
    """Logits on the kept box: skimage's resize channel by channel in float64, rounded to the logits' type."""
    values = logits.numpy()
    result = np.empty((len(values), *grid.cropped_shape), values.dtype)
    options = {"order": 1, "mode": "edge", "anti_aliasing": False}
    axis = grid.coarse_axis_back
    for channel, array in enumerate(values.astype(float)):
        if grid.resampled_shape == grid.cropped_shape:
            result[channel] = array
        elif axis is None:
            result[channel] = resize(array, grid.cropped_shape, **options)
        else:
            plane = np.delete(grid.cropped_shape, axis)
            slices = [resize(each, plane, **options) for each in np.moveaxis(array, axis, 0)]
            n_in, n_out = len(slices), grid.cropped_shape[axis]
            nearest = np.floor((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5 + 0.5).astype(int).clip(0, n_in - 1)
            result[channel] = np.moveaxis(np.stack(slices)[nearest], 0, axis)
    return result


def turn_back(box: np.ndarray, grid: PreparedGrid, outside: float = 0) -> np.ndarray:
    """A kept box (..., a, b, c) pasted into the scan and turned to file order, step by step."""
    lead = box.shape[:-3]
    network = [grid.shape[axis] for axis in grid.axis_order]
    whole = np.full((*lead, *network), outside, box.dtype)
    start, stop = grid.crop_start, grid.crop_stop
    whole[..., start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]] = box
    turned = np.flip(whole, [len(lead) + axis for axis in range(3) if grid.flipped[axis]])
    back = [grid.axis_order.index(axis) for axis in range(3)]
    return turned.transpose(*range(len(lead)), *(len(lead) + axis for axis in back))


def label_slowly(logits: torch.Tensor, grid: PreparedGrid, labels: LabelScheme) -> np.ndarray:
    """The label map that nnU-Net's rules give."""
    values = resize_as_nnunet(logits, grid)
    if labels.output == "softmax":
        box = np.array(labels.channel_values(), np.uint8)[values.argmax(axis=0)]
    else:
        box = np.zeros(grid.cropped_shape, np.uint8)
        chances = torch.sigmoid(torch.from_numpy(values).float()).numpy()
        for value, chance in zip(labels.channel_values(), chances, strict=True):
            box[chance > 0.5] = value
    return turn_back(box, grid)


def cut_blocks(logits: torch.Tensor, edges_a: list[int], edges_b: list[int]) -> list[LogitBlock]:
    """Logits in blocks between edges along the first two axes."""
    (_, a, b, _), blocks = logits.shape, []
    sides = [list(zip([0, *edges], [*edges, end], strict=True)) for edges, end in ((edges_a, a), (edges_b, b))]
    for start_a, stop_a in sides[0]:
        for start_b, stop_b in sides[1]:
            part = logits[:, start_a:stop_a, start_b:stop_b]
            blocks.append(LogitBlock((start_a, start_b), (stop_a, stop_b), part))
    return blocks
