"""How much memory segmenting a scan needs, in closed form, before it starts."""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medseg.core.geometry import Geometry, match_axes
from medseg.core.plan import Configuration, NetworkPlan, Plan
from medseg.inference.engines.unrolled_conv import UNROLLED_UP_TO
from medseg.inference.members import LoadedMember
from medseg.inference.segment import PreparedScan
from medseg.inference.sliding_window import place_rows
from medseg.inference.streaming import BLOCK_VALUES
from medseg.planning.memory import count_weights
from medseg.preprocessing.probabilities import PIECE_VALUES
from medseg.preprocessing.restore import PART_VALUES, PART_VOXELS

BYTES_PER_GB = 1e9
FLOAT, HALF, DOUBLE = 4, 2, 8

# What comes once, with the first scan: libraries' code, kernels and compiled loops. Our own measurement with PyTorch
# 2.13 and numba on a CPU: up to 110 MB with the first window, 90 MB with the first large scan's way back to its grid.
FIRST_WINDOW_BYTES = 120_000_000
FIRST_RESTORING_BYTES = 100_000_000
FIRST_READING_BYTES = 60_000_000
# The CUDA context with its libraries' workspaces, before any tensor: 0.4 to 0.6 GB by GPU and version.
CUDA_CONTEXT_BYTES = 600_000_000
# Per voxel of the mask: its components as int32, and which of them go.
COMPONENT_BYTES = 6
UNKNOWN_PROGRAM_BYTES = 700_000_000

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class ScanSize:
    """How large a scan is.

    Args:
        shape: its voxels.
        channels: how many.
        value_bytes: of one voxel's value as it is held.
        prepared: for each member, the voxels (a, b, c) that its network sees.
    """

    shape: Triple
    channels: int
    value_bytes: int
    prepared: tuple[Triple, ...]

    @property
    def voxels(self) -> int:
        """Of the scan."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class MemoryEstimate:
    """What a case will need at its peak, in bytes, by what needs it."""

    ram: dict[str, int] = field(default_factory=dict)
    vram: dict[str, int] = field(default_factory=dict)

    @property
    def ram_bytes(self) -> int:
        """In the computer's memory."""
        return sum(self.ram.values())

    @property
    def vram_bytes(self) -> int:
        """On the GPU."""
        return sum(self.vram.values())

    def list_ram(self) -> str:
        """What needs the computer's memory, in GB: ``program 0.5, scan 0.6``."""
        return _list(self.ram)

    def describe(self) -> str:
        """One line: ``RAM 1.9 GB (program 0.5, scan 0.6, ...)``, and the same for the GPU where it is used."""
        kinds = [("RAM", self.ram), ("GPU memory", self.vram)]
        return "; ".join(f"{name} {format_gb(sum(parts.values()))} ({_list(parts)})" for name, parts in kinds if parts)


def format_gb(count: float) -> str:
    """Bytes in GB (10^9), for messages."""
    return f"{count / BYTES_PER_GB:.2f} GB" if count < 1e10 else f"{count / BYTES_PER_GB:.1f} GB"


def _list(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {size / BYTES_PER_GB:.2f}" for name, size in parts.items())


def expect_size(geometry: Geometry, channels: int, value_bytes: int, members: Iterable[LoadedMember]) -> ScanSize:
    """How large a scan will be at most once it is prepared: as if nothing of it was empty and could be cut off.

    Args:
        geometry: the scan's grid.
        channels: how many it has.
        value_bytes: of one voxel's value as it is held.
        members: whose networks will see it.
    Returns:
        its size.
    """
    prepared = tuple(_expect_shape(geometry, member.plan, member.configuration) for member in members)
    return ScanSize(geometry.shape, channels, value_bytes, prepared)


def _expect_shape(geometry: Geometry, plan: Plan, configuration: Configuration) -> Triple:
    order = plan.axis_order
    if plan.orientation is not None:
        order = match_axes(geometry.orientation, plan.orientation)[0]
    lengths = []
    for axis, wanted_mm in zip(order, configuration.spacing_mm, strict=True):
        own_mm = geometry.spacing_mm[axis]
        lengths.append(max(1, round(own_mm / (wanted_mm or own_mm) * geometry.shape[axis])))
    return lengths[0], lengths[1], lengths[2]


def count_network_bytes(
    network: NetworkPlan, patch_size: Sequence[int], inputs: int, outputs: int, value_bytes: int = FLOAT
) -> int:
    """The most that a U-Net holds at once while it computes one window, without its weights.

    Args:
        network: the U-Net.
        patch_size: the window, (a, b, c).
        inputs: channels of the window.
        outputs: channels of the logits.
        value_bytes: of a feature map's element: 4 in float32, 2 in bf16 or fp16.
    Returns:
        bytes: the skip connections kept so far and what the busiest stage works on.
    """
    patch = patch_size[-len(network.kernels[0]) :]
    sizes = _list_sizes(network, patch)
    maps = [count * math.prod(size) for count, size in zip(network.features, sizes, strict=True)]
    # A convolution's input and output and the normalised output; a residual block also holds its own input.
    working = 4 if network.name.startswith("residual") else 3
    peak, channels = 0, inputs
    for stage, own in enumerate(maps):
        before = channels * math.prod(sizes[max(0, stage - 1)])
        held = value_bytes * (sum(maps[:stage]) + before + working * own)
        widest = max(channels, network.features[stage])
        peak = max(peak, held + _count_unrolled(widest, sizes[stage], network.kernels[stage]))
        channels = network.features[stage]
    for stage in reversed(range(len(maps) - 1)):
        # The coarser map, the joined one (of twice the channels), a convolution's output, and both once more as the
        # library lays them out.
        held = value_bytes * (sum(maps[:stage]) + maps[stage + 1] + 6 * maps[stage])
        peak = max(peak, held + _count_unrolled(2 * network.features[stage], sizes[stage], network.kernels[stage]))
    return peak + value_bytes * outputs * math.prod(patch)


def _list_sizes(network: NetworkPlan, patch: Sequence[int]) -> list[tuple[int, ...]]:
    """The feature maps' voxels along each axis, from the finest stage to the coarsest."""
    sizes, size = [], tuple(patch)
    for strides in network.strides:
        size = tuple(length // stride for length, stride in zip(size, strides, strict=True))
        sizes.append(size)
    return sizes


def _count_unrolled(channels: int, size: Sequence[int], kernel: Sequence[int]) -> int:
    """Bytes of an input that PyTorch copies once per tap of a kernel, which it does with small ones; else 0."""
    if channels * math.prod(size[:2]) > UNROLLED_UP_TO:
        return 0
    return FLOAT * channels * math.prod(size) * math.prod(kernel)


def count_sum_bytes(
    prepared: Sequence[int], patch_size: Sequence[int], outputs: int, networks: int, overlap: float
) -> int:
    """The most that the sums of windows hold at once while a scan streams through.

    Args:
        prepared: the scan as the network sees it, (a, b, c).
        patch_size: the window.
        outputs: channels of the logits.
        networks: how many are averaged.
        overlap: share of a window that neighbours share.
    Returns:
        bytes: in half precision, for the rows of a window and of those before it that are not handed on yet.
    """
    length, width, depth = (max(own, size) for own, size in zip(prepared, patch_size, strict=True))
    rows = place_rows(length, patch_size[0], overlap)
    # Sums lie in bands that begin with a window and are handed on whole.
    edges = [0]
    for row in rows[1:]:
        if row - edges[-1] >= BLOCK_VALUES // (outputs * width * depth):
            edges.append(row)
    ends = [*edges[1:], length]
    held = max(ends[bisect_left(ends, row + patch_size[0])] - edges[bisect_right(edges, row) - 1] for row in rows)
    return HALF * held * width * depth * (outputs * networks + 1)


def count_reading_bytes(size: ScanSize, *, exact: bool) -> int:
    """The most that reading and preparing a scan holds at once.

    Args:
        size: of the scan.
        exact: whether it is resampled in double precision.
    Returns:
        bytes: the scan as read and cut out, its values in float32, one channel being resampled, the result.
    """
    wide = DOUBLE if exact else FLOAT
    held = size.channels * size.voxels * (2 * size.value_bytes + FLOAT) + size.voxels
    largest = max(map(math.prod, size.prepared))
    resampling = wide * (2 * max(size.voxels, largest) + size.channels * largest)
    return FIRST_READING_BYTES + held + resampling + count_image_bytes(size)


def count_image_bytes(size: ScanSize) -> int:
    """What prepared scans hold, those of several members together."""
    return FLOAT * size.channels * sum(map(math.prod, size.prepared))


def count_restoring_bytes(size: ScanSize, stage: LoadedMember, shape: Sequence[int]) -> int:
    """The most that bringing logits back to the scan's grid holds at once, besides the logits and the mask.

    Args:
        size: of the scan.
        stage: whose logits they are.
        shape: of the prepared scan.
    Returns:
        bytes: labels of a part of the scan; and where logits are bounded first, a part of them in float32, thrice.
    """
    labels = stage.plan.labels
    part = min(PART_VOXELS, size.voxels) * labels.value_type()().itemsize
    if stage.configuration.logit_floor is None:
        return part
    return part + 3 * FLOAT * min(PART_VALUES, labels.channel_count * math.prod(shape))


def estimate_memory(
    members: Sequence[LoadedMember],
    size: ScanSize,
    *,
    together: int,
    at_once: int,
    on_gpu: bool,
    sums_on_gpu: bool,
    overlap: float,
    exact: bool,
    program_bytes: int,
    with_probabilities: bool = False,
    with_rules: bool = False,
) -> MemoryEstimate:
    """What segmenting one scan needs at its peak, without the scans before and after it.

    Args:
        members: whose networks see it.
        size: of the scan.
        together: windows, mirrored copies included, that are handed to a network together.
        at_once: how many of them it computes at the same time: all on a GPU, one per thread on a processor.
        on_gpu: whether the networks are on a GPU.
        sums_on_gpu: whether the windows are summed there.
        overlap: share of a window that neighbours share.
        exact: float32 where it is true, else half the width.
        program_bytes: what the process holds before, its libraries and the weights.
        with_probabilities: whether they are kept.
        with_rules: whether postprocessing looks for components of the mask.
    Returns:
        bytes by part.
    """
    labels = members[0].plan.labels
    chains = [(member.previous, member) if member.previous else (member,) for member in members]
    stages = [(stage, shape) for chain, shape in zip(chains, size.prepared, strict=True) for stage in chain]
    width = FLOAT if exact else HALF
    network = max(_count_windows(stage, together, at_once, width) for stage, _ in stages)
    sums = sum(_count_stage_sums(stage, shape, overlap) for stage, shape in stages)
    restoring = max(count_restoring_bytes(size, stage, shape) for stage, shape in stages)
    if len(members) > 1:  # of each model a piece of probabilities, twice while it is made
        restoring += 2 * len(members) * FLOAT * min(PIECE_VALUES, labels.channel_count * size.voxels)
    once = FIRST_RESTORING_BYTES + (0 if on_gpu else FIRST_WINDOW_BYTES)
    ram = {"program": program_bytes + once, "scan": _count_padded(size, stages)}
    # The mask and the one that is being written; in postprocessing its components, as the sums are gone.
    ram["mask"] = 2 * size.voxels * labels.value_type()().itemsize
    vram = {"program": CUDA_CONTEXT_BYTES + _count_weights(members)} if on_gpu else {}
    (vram if on_gpu else ram)["network"] = network
    (vram if sums_on_gpu else ram)["sums"] = sums + restoring
    if with_rules:
        ram["mask"] += max(0, COMPONENT_BYTES * size.voxels - ram.get("sums", 0) - ram.get("network", 0))
    if with_probabilities:
        logits = HALF * labels.channel_count * math.prod(size.prepared[0]) if len(members) == 1 else 0
        ram["probabilities"] = FLOAT * size.voxels * (labels.channel_count + 1) + logits
    return MemoryEstimate(ram, vram)


def _count_stage_sums(stage: LoadedMember, shape: Sequence[int], overlap: float) -> int:
    outputs = stage.plan.labels.channel_count
    return count_sum_bytes(shape, stage.configuration.patch_size, outputs, len(stage.forwards), overlap)


def _count_padded(size: ScanSize, stages: Sequence[tuple[LoadedMember, Triple]]) -> int:
    """Prepared scans, and once more with zeros around them where they are smaller than a window."""
    total = count_image_bytes(size)
    for stage, shape in stages:
        padded = tuple(map(max, shape, stage.configuration.patch_size))
        total += FLOAT * size.channels * math.prod(padded) if padded != shape else 0
    return total


def _count_windows(stage: LoadedMember, together: int, at_once: int, value_bytes: int) -> int:
    """Windows in a network, and their logits: turned back, summed and weighted."""
    configuration, outputs = stage.configuration, stage.plan.labels.channel_count
    inputs = len(stage.plan.channels) + (len(stage.plan.labels.foreground) if stage.previous else 0)
    window = math.prod(configuration.patch_size)
    network = count_network_bytes(configuration.network, configuration.patch_size, inputs, outputs, value_bytes)
    return at_once * network + together * FLOAT * window * (3 * outputs + 2 * inputs)


def _count_weights(members: Iterable[LoadedMember]) -> int:
    total = 0
    for member in members:
        stage: LoadedMember | None = member
        while stage is not None:
            inputs, outputs = len(stage.plan.channels), stage.plan.labels.channel_count
            total += len(stage.forwards) * count_weights(stage.configuration.network, inputs, outputs)
            stage = stage.previous
    return FLOAT * total


def read_used_bytes() -> int:
    """What this process holds in memory now; what PyTorch and a small model hold, where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return UNKNOWN_PROGRAM_BYTES
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_size(prepared: PreparedScan, channels: int, value_bytes: int) -> ScanSize:
    """How large a prepared scan is: what was empty around it is cut off.

    Args:
        prepared: from ``Predictor.prepare``.
        channels: of the scan.
        value_bytes: of one voxel's value as it was read.
    Returns:
        its size.
    """
    grids = [stages[-1].grid for stages in prepared.stages]
    return ScanSize(grids[0].shape, channels, value_bytes, tuple(grid.resampled_shape for grid in grids))
