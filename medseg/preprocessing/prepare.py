"""From a scan to what the network sees: reorder axes, crop, normalise, resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import PlanError
from medseg.core.geometry import Geometry, match_axes
from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration, NormalisationPlan, Plan
from medseg.core.records import Record
from medseg.core.volume import Segmentation, Volume
from medseg.grids import choose_coarse_axis, find_box, resample_array, resample_labels
from medseg.preprocessing.normalise import IDENTITY, Scaling, apply_scalings, choose_scalings, fill_holes

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
Row = tuple[float, float, float, float]


class PreparedGrid(Record):
    """Where a prepared case lies in its scan; all that the way back needs.

    Args:
        shape: the scan's voxels along i, j, k.
        affine: the scan's, row by row, index to millimetres in RAS+.
        axis_order: the file axes (0 = i, 1 = j, 2 = k) in the network's order; what follows is in that order.
        flipped: which of them run the other way in the network's view.
        crop_start, crop_stop: the box that was kept, in voxels of the scan.
        cropped_shape: its voxels.
        resampled_shape: the prepared array's voxels over the same extent.
        cropped_mm, resampled_mm: the spacing before and after resampling, as the plan and the file name it.
    """

    shape: Triple
    affine: tuple[Row, Row, Row, Row]
    axis_order: Triple
    flipped: tuple[bool, bool, bool] = (False, False, False)
    crop_start: Triple
    crop_stop: Triple
    cropped_shape: Triple
    resampled_shape: Triple
    cropped_mm: Spacing
    resampled_mm: Spacing

    def to_geometry(self) -> Geometry:
        """The scan's own grid, in file order."""
        return Geometry(self.shape, np.array(self.affine))

    @property
    def is_resampled(self) -> bool:
        """Whether the prepared array has another number of voxels than the box it was made from."""
        return self.resampled_shape != self.cropped_shape

    @property
    def coarse_axis_forth(self) -> int | None:
        """The network axis without interpolation when a scan is prepared; None where there is none."""
        return choose_coarse_axis(self.cropped_mm, self.resampled_mm)

    @property
    def coarse_axis_back(self) -> int | None:
        """The network axis without interpolation on the way back to the scan; None where there is none."""
        return choose_coarse_axis(self.resampled_mm, self.cropped_mm)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case as the network sees it.

    Args:
        stored: (channel, a, b, c) in the network's axis order: the file's own small integers where nothing was
            resampled, else normalised float32.
        scalings: what turns ``stored`` into the network's input, per channel.
        reference: label values, (a, b, c), uint8 or uint16; None where there is no mask.
        grid: the way back.
        labels: what the reference's values mean.
        dimensions: 2 where the network sees slices across the first axis, else 3.
    """

    stored: NDArray[Any]
    scalings: tuple[Scaling, ...]
    reference: NDArray[Any] | None
    grid: PreparedGrid
    labels: LabelScheme
    dimensions: int

    @cached_property
    def image(self) -> NDArray[np.float32]:
        """The network's input, (channel, a, b, c), float32."""
        if self.stored.dtype == np.float32 and all(scaling == IDENTITY for scaling in self.scalings):
            return self.stored
        return apply_scalings(self.stored, self.scalings)


def prepare_case(
    volume: Volume,
    segmentation: Segmentation | None,
    plan: Plan,
    configuration: Configuration,
    *,
    exact: bool = False,
) -> Prepared:
    """A scan as the network sees it.

    Args:
        volume: the scan, (channel, i, j, k).
        segmentation: its reference on the same grid; None for a scan to predict.
        plan: axis order and labels.
        configuration: spacing and normalisation.
        exact: resample in float64, as nnU-Net does, and round to float32 at the end.
    Returns:
        the axes in the plan's order, cropped to the box around what is not zero in some channel, normalised, then
        resampled to the configuration's spacing: images by cubic splines, labels by linear shares, and without
        interpolation along an axis that is more than 3 times coarser than another.
    Raises:
        PlanError: the scan has another number of channels than the plan.
    Source: the order of steps and the rules are nnU-Net v2's ``DefaultPreprocessor.run_case_npy``.
    """
    count = len(configuration.normalisation)
    if volume.array.shape[0] != count:
        raise PlanError(f"the scan has {volume.array.shape[0]} channels, the plan expects {count}", code="channels")
    order, flips = plan.axis_order, (False, False, False)
    if plan.orientation is not None:
        order, flips = match_axes(volume.geometry.orientation, plan.orientation)
    array = turn_array(volume.array, order, flips)
    filled = (array != 0).any(axis=0)
    start, stop = find_box(filled)
    grid = _make_grid(
        volume.geometry, (order, flips), start, stop, configuration.spacing_mm, _choose_spacing(volume.geometry, plan)
    )
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    inside = _find_inside(filled[box], configuration)
    scalings = _measure_scalings(volume.array, grid, configuration, inside)
    stored, scalings = _normalise(np.ascontiguousarray(array[:, *box]), scalings, inside, grid, configuration, exact)
    reference = None if segmentation is None else prepare_reference(segmentation, grid, plan.labels)
    return Prepared(stored, scalings, reference, grid, plan.labels, configuration.dimensions)


def view_flipped(flips: Sequence[bool]) -> tuple[slice, ...]:
    """Slices that turn the flipped axes of an array round, without a copy."""
    return tuple(slice(None, None, -1 if flip else 1) for flip in flips)


def _choose_spacing(geometry: Geometry, plan: Plan) -> Spacing:
    """The scan's spacing along i, j, k; of a scan that is turned the affine's, rounded as nibabel writes it then."""
    if plan.orientation is None or geometry.orientation == "RAS":
        return geometry.spacing_mm
    x, y, z = (float(np.float32(value)) for value in geometry.measured_mm)
    return x, y, z


def _make_grid(
    geometry: Geometry,
    turn: tuple[Triple, tuple[bool, bool, bool]],
    start: Triple,
    stop: Triple,
    wanted_mm: Sequence[float | None],
    spacing_mm: Spacing,
) -> PreparedGrid:
    order, flips = turn
    a, b, c = (spacing_mm[axis] for axis in order)
    p, q, r = (own if wanted is None else wanted for wanted, own in zip(wanted_mm, (a, b, c), strict=True))
    cropped = (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])
    i, j, k = (
        max(1, round(own / wanted * voxels)) for own, wanted, voxels in zip((a, b, c), (p, q, r), cropped, strict=True)
    )
    return PreparedGrid(
        shape=geometry.shape,
        affine=tuple(tuple(row) for row in geometry.affine.tolist()),  # type: ignore[arg-type]
        axis_order=order,
        flipped=flips,
        crop_start=start,
        crop_stop=stop,
        cropped_shape=cropped,
        resampled_shape=(i, j, k),
        cropped_mm=(a, b, c),
        resampled_mm=(p, q, r),
    )


def turn_array(array: NDArray[Any], order: Sequence[int], flips: Sequence[bool]) -> NDArray[Any]:
    """A view of (channel, i, j, k) in the network's axis order and directions."""
    return array.transpose(0, *[1 + axis for axis in order])[:, *view_flipped(flips)]


def _is_masked(plan: NormalisationPlan) -> bool:
    return plan.scheme == "zscore" and plan.inside_mask


def _find_inside(filled: NDArray[np.bool_], configuration: Configuration) -> NDArray[np.bool_] | None:
    """The body without its holes, where some channel's statistics are taken there alone."""
    return fill_holes(filled) if any(map(_is_masked, configuration.normalisation)) else None


def _measure_scalings(
    array: NDArray[Any], grid: PreparedGrid, configuration: Configuration, inside: NDArray[np.bool_] | None
) -> tuple[Scaling, ...]:
    """Each channel's scaling from the kept box, seen in the whole scan: sums then run as nnU-Net's do."""
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    scalings: list[Scaling] = []
    for channel, plan in zip(array, configuration.normalisation, strict=True):
        values = np.asarray(channel, np.float32, order="F") if plan.scheme == "zscore" else channel
        cropped = turn_array(values[None], grid.axis_order, grid.flipped)[:, *box]
        scalings += choose_scalings(cropped, (plan,), inside)
    return tuple(scalings)


def _normalise(
    array: NDArray[Any],
    scalings: tuple[Scaling, ...],
    inside: NDArray[np.bool_] | None,
    grid: PreparedGrid,
    configuration: Configuration,
    exact: bool,
) -> tuple[NDArray[Any], tuple[Scaling, ...]]:
    """Normalised and resampled values, or the file's integers with the scaling still to be applied."""
    masked = list(map(_is_masked, configuration.normalisation))
    if not grid.is_resampled:
        integers = _as_small_integers(array)
        if integers is not None:
            return _mark_outside(integers, scalings, masked, inside)
    values = apply_scalings(array, scalings)
    if inside is not None:
        for channel in np.flatnonzero(masked):
            values[channel][~inside] = 0.0
    values = resample_array(values, grid.resampled_shape, coarse_axis=grid.coarse_axis_forth, exact=exact)
    return values.astype(np.float32, copy=False), (IDENTITY,) * len(values)


def _as_small_integers(array: NDArray[Any]) -> NDArray[Any] | None:
    """The same values in 8 or 16 bits; None where that would change one."""
    low, high = array.min(), array.max()
    for kind in (np.uint8, np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            integers = array.astype(kind)
            return integers if array.dtype.kind in "iub" or np.array_equal(integers, array) else None
    return None


def _mark_outside(
    integers: NDArray[Any],
    scalings: tuple[Scaling, ...],
    masked: Sequence[bool],
    inside: NDArray[np.bool_] | None,
) -> tuple[NDArray[Any], tuple[Scaling, ...]]:
    """Give voxels outside the body a value of their own, so that they read as 0 whatever their channel's mean is."""
    if inside is None or inside.all():
        return integers, scalings
    # One more than the largest value is free, unless the type ends there; int32 then has room.
    mark = int(integers.max()) + 1
    if mark > np.iinfo(integers.dtype).max:
        integers = integers.astype(np.int16 if mark <= np.iinfo(np.int16).max else np.int32)
    marked = []
    for values, scaling, has_outside in zip(integers, scalings, masked, strict=True):
        if has_outside:
            values[~inside] = mark
        marked.append(scaling.model_copy(update={"outside": mark}) if has_outside else scaling)
    return integers, tuple(marked)


def prepare_reference(segmentation: Segmentation, grid: PreparedGrid, labels: LabelScheme) -> NDArray[Any]:
    """A label map as the network sees it.

    Args:
        segmentation: on the scan's own grid.
        grid: the prepared scan's.
        labels: its values.
    Returns:
        label values (a, b, c) on the prepared grid, uint8 or uint16: cropped, resampled by linear shares.
    """
    box = tuple(slice(a, b) for a, b in zip(grid.crop_start, grid.crop_stop, strict=True))
    turned = turn_array(segmentation.array[None], grid.axis_order, grid.flipped)[0]
    cropped = turned[box].astype(labels.value_type())
    return resample_labels(cropped, grid.resampled_shape, labels.values, coarse_axis=grid.coarse_axis_forth)
