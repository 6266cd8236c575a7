"""How a U-Net pools and how wide its kernels are, from the spacing and the patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medseg.core.errors import PlanError
from medseg.core.plan import NetworkPlan

# Source of the numbers: Isensee et al., Nature Methods 18 (2021), supplementary note 2, and nnU-Net's published plans.
SMALLEST_FEATURE_MAP = 4  # voxels along an axis that is pooled no further
SIMILAR_SPACING = 2.0  # axes within this factor of the finest are pooled and convolved together
FIRST_PATCH_VOXELS = {2: 2048**2, 3: 256**3}  # isotropic in millimetres, larger than any target memory holds
PLAIN = (2,)  # convolutions per stage of a plain U-Net


@dataclass(frozen=True)
class Topology:
    """A patch and the pooling that fits it.

    Args:
        patch: voxels, a multiple of ``divisors`` along each axis.
        strides: per stage, per axis; the first is all ones.
        kernels: per stage, per axis.
    """

    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]

    @property
    def divisors(self) -> tuple[int, ...]:
        """The product of the strides along each axis."""
        return tuple(math.prod(steps) for steps in zip(*self.strides, strict=True))

    @property
    def voxels(self) -> int:
        """Voxels of the patch."""
        return math.prod(self.patch)


def plan_topology(spacing_mm: Sequence[float], size: Sequence[float]) -> Topology:
    """Pooling and kernels for a patch of about ``size``.

    An axis is halved as long as it is within a factor of two of the finest one and keeps 4 voxels; one axis alone
    must keep 6. Kernels are 1 along an axis until it comes within that factor of the finest, then 3; the coarsest
    stage has 3 everywhere.

    Args:
        spacing_mm: per axis, millimetres.
        size: the wanted patch, voxels per axis.
    Returns:
        the topology; its patch is ``size`` padded up to what the pooling divides.
    """
    axes = range(len(spacing_mm))
    spacing, length = [float(value) for value in spacing_mm], [float(value) for value in size]
    kernel = [1] * len(spacing)
    strides: list[tuple[int, ...]] = [(1,) * len(spacing)]
    kernels: list[tuple[int, ...]] = []
    while pooled := _axes_to_pool(spacing, length):
        finest = min(spacing)
        kernel = [3 if size == 3 or spacing[axis] / finest < SIMILAR_SPACING else 1 for axis, size in enumerate(kernel)]
        for axis in pooled:
            spacing[axis] *= 2
            length[axis] = math.ceil(length[axis] / 2)
        strides.append(tuple(2 if axis in pooled else 1 for axis in axes))
        kernels.append(tuple(kernel))
    kernels.append((3,) * len(spacing))
    divisors = [math.prod(steps) for steps in zip(*strides, strict=True)]
    patch = tuple(int(value + -value % divisor) for value, divisor in zip(size, divisors, strict=True))
    return Topology(patch, tuple(strides), tuple(kernels))


def _axes_to_pool(spacing: Sequence[float], length: Sequence[float]) -> list[int]:
    large = [axis for axis, size in enumerate(length) if size >= 2 * SMALLEST_FEATURE_MAP]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    pooled = [axis for axis in large if spacing[axis] / finest < SIMILAR_SPACING]
    alone_too_small = len(pooled) == 1 and length[pooled[0]] < 3 * SMALLEST_FEATURE_MAP
    return [] if alone_too_small else pooled


def first_patch(spacing_mm: Sequence[float], median_shape: Sequence[float]) -> tuple[float, ...]:
    """A patch isotropic in millimetres, as large as nnU-Net starts with, but nowhere beyond the median case."""
    finesse = 1 / np.asarray(spacing_mm, dtype=np.float64)
    dimensions = len(finesse)
    scale = (FIRST_PATCH_VOXELS[dimensions] / np.prod(finesse)) ** (1 / dimensions)
    return tuple(min(round(size), limit) for size, limit in zip((finesse * scale).tolist(), median_shape, strict=True))


def fit_patch(
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    fits: Callable[[Topology], bool],
    largest_edge: float = math.inf,
) -> Topology:
    """The largest patch that fits, shrunk from nnU-Net's first one along the axis that covers most of the median case.

    Args:
        spacing_mm: per axis, millimetres.
        median_shape: the median case's voxels per axis.
        fits: whether a patch with its pooling fits the memory or the time.
        largest_edge: voxels along any axis to start from at most.
    Returns:
        the first patch that fits, with its pooling.
    Raises:
        PlanError: not even the smallest patch fits.
    """
    start = [min(size, largest_edge) for size in first_patch(spacing_mm, median_shape)]
    topology = plan_topology(spacing_mm, start)
    while not fits(topology):
        cover = [size / whole for size, whole in zip(topology.patch, median_shape, strict=True)]
        axes = sorted(range(len(cover)), key=lambda axis: (cover[axis], axis), reverse=True)
        smaller = next(filter(None, (_shrink(spacing_mm, topology, axis) for axis in axes)), None)
        if smaller is None:
            raise PlanError(
                f"not even a patch of {format_shape(topology.patch)} voxels fits the target",
                code="target_too_small",
                remedy="Plan for more memory with --gpu-memory-gb, or for fewer channels or labels",
            )
        topology = smaller
    return topology


def can_pool(spacing_mm: Sequence[float], median_shape: Sequence[float]) -> bool:
    """Whether the median case is large enough for a network with at least one pooling."""
    return len(plan_topology(spacing_mm, first_patch(spacing_mm, median_shape)).strides) > 1


def _shrink(spacing_mm: Sequence[float], topology: Topology, axis: int) -> Topology | None:
    """The next smaller patch along ``axis``; None where it could no longer be pooled."""
    patch = list(topology.patch)
    patch[axis] -= topology.divisors[axis]
    if patch[axis] < 1:
        return None
    smaller = plan_topology(spacing_mm, patch)
    if smaller.divisors[axis] != topology.divisors[axis]:
        # A smaller patch may pool less and so allow a smaller step: 256 shrinks to 224, not to 192.
        patch[axis] = topology.patch[axis] - smaller.divisors[axis]
        smaller = plan_topology(spacing_mm, patch)
    return smaller if len(smaller.strides) > 1 else None


def make_network(
    topology: Topology,
    base_features: int,
    most_features: int,
    *,
    name: str = "plain_unet",
    encoder: Sequence[int] = PLAIN,
    decoder: Sequence[int] = PLAIN,
) -> NetworkPlan:
    """A U-Net with that pooling.

    Args:
        topology: strides and kernels per stage.
        base_features: channels at full resolution, doubled per stage.
        most_features: channels at most.
        name: an entry of the table of networks.
        encoder, decoder: convolutions or blocks of the stages from the finest; the last one holds for all coarser ones.
    Returns:
        the network plan.
    """
    stages = range(len(topology.strides))
    return NetworkPlan(
        name=name,
        features=tuple(min(most_features, base_features * 2**stage) for stage in stages),
        strides=topology.strides,
        kernels=topology.kernels,
        convolutions=tuple(encoder[min(stage, len(encoder) - 1)] for stage in stages),
        decoder_convolutions=tuple(decoder[min(stage, len(decoder) - 1)] for stage in stages[:-1]),
    )


def format_shape(shape: Sequence[float]) -> str:
    """A shape for messages: ``128 x 128 x 96``."""
    return " x ".join(f"{size:g}" for size in shape)
