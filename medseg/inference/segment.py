"""A scan through the networks: prepared, gone through window by window, brought back to its own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.core.geometry import Geometry
from medseg.core.plan import Configuration, Plan
from medseg.core.volume import Segmentation, Volume
from medseg.inference.ensemble import average_probabilities
from medseg.inference.member_volumes import Counts, count_voxels
from medseg.inference.members import LoadedMember
from medseg.inference.streaming import Look, stream_logits
from medseg.preprocessing import (
    LogitBlock,
    Prepared,
    find_body,
    prepare_case,
    prepare_previous,
    restore_blocks,
    restore_probabilities,
    stream_probabilities,
)


@dataclass(frozen=True)
class Window:
    """How a scan is gone through.

    Args:
        overlap: share of a window that neighbours share.
        together: windows and mirrored copies that go through a network at once; what suits the device where None.
        sum_device: where windows are summed, ``cpu`` to spare a GPU's memory; the networks' device where None.
    """

    overlap: float = 0.5
    together: int | None = None
    sum_device: str | None = None


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan as the networks of a predictor will see it.

    Args:
        geometry: the scan's own grid.
        stages: for each member the scan as prepared for it, its first stages before it.
        bodies: for each member with a first stage, where the scan is not empty; None for others.
        warnings: what is unusual about the scan.
    """

    geometry: Geometry
    stages: tuple[tuple[Prepared, ...], ...]
    bodies: tuple[NDArray[np.bool_] | None, ...]
    warnings: tuple[str, ...] = ()


def prepare_scan(volume: Volume, members: Sequence[LoadedMember], *, exact: bool = True) -> PreparedScan:
    """A scan as some networks see it; several scans may be prepared at once, in threads.

    Args:
        volume: the scan, its channels in the plans' order.
        members: whose networks will see it.
        exact: resample in float64, as nnU-Net does.
    Returns:
        the prepared scan; equal preparations are made once.
    Raises:
        PlanError: the scan has another number of channels than a plan.
    """
    made: list[tuple[Plan, Configuration, Prepared]] = []

    def prepare(member: LoadedMember) -> Prepared:
        for plan, configuration, prepared in made:
            if plan.axis_order == member.plan.axis_order and _looks_alike(plan, configuration, member):
                return prepared
        made.append(
            (
                member.plan,
                member.configuration,
                prepare_case(volume, None, member.plan, member.configuration, exact=exact),
            )
        )
        return made[-1][2]

    stages, bodies = [], []
    for member in members:
        chain = (member,) if member.previous is None else (member.previous, member)
        stages.append(tuple(prepare(stage) for stage in chain))
        bodies.append(None if member.previous is None else find_body(volume, stages[-1][-1].grid))
    return PreparedScan(volume.geometry, tuple(stages), tuple(bodies))


def segment_scan(
    prepared: PreparedScan,
    members: Sequence[LoadedMember],
    window: Window,
    device: torch.device,
    *,
    with_probabilities: bool = False,
    counts: Sequence[Counts] | None = None,
) -> tuple[Segmentation, NDArray[np.float32] | None]:
    """The mask of a prepared scan.

    Args:
        prepared: from ``prepare_scan`` with the same members.
        members: whose probabilities are averaged; with one alone, its logits decide.
        window: how the scan is gone through.
        device: where the windows are computed.
        with_probabilities: also return probabilities, at the cost of their memory.
        counts: for each member an empty dictionary, which is filled with the voxels of its networks' own masks.
    Returns:
        the mask on the scan's grid, without postprocessing, and the probabilities (channel, i, j, k) or None.
    Raises:
        ModelError: a network gives numbers that are not finite.
    """
    looks: Sequence[Look | None] = [None] * len(members)
    if counts is not None:
        looks = [partial(count_voxels, own, member.plan.labels) for own, member in zip(counts, members, strict=True)]
    streams = [
        _stream(member, stages, body, window, device, look)
        for member, stages, body, look in zip(members, prepared.stages, prepared.bodies, looks, strict=True)
    ]
    if len(members) == 1:
        (member,), ((*_, last),) = members, prepared.stages
        labels, floor = member.plan.labels, member.configuration.logit_floor
        if not with_probabilities:
            return restore_blocks(streams[0], last.grid, labels, floor=floor), None
        blocks = list(streams[0])
        mask = restore_blocks(blocks, last.grid, labels, floor=floor)
        return mask, restore_probabilities(blocks, last.grid, labels, floor=floor)
    parts = [
        stream_probabilities(stream, stages[-1].grid, member.plan.labels, floor=member.configuration.logit_floor)
        for stream, stages, member in zip(streams, prepared.stages, members, strict=True)
    ]
    grids = [stages[-1].grid for stages in prepared.stages]
    schemes = [member.plan.labels for member in members]
    return average_probabilities(parts, grids, schemes, with_probabilities=with_probabilities)


def _looks_alike(plan: Plan, configuration: Configuration, member: LoadedMember) -> bool:
    """Whether two configurations prepare a scan in the same way."""
    other = member.configuration
    return (plan.orientation, configuration.spacing_mm, configuration.normalisation, configuration.dimensions) == (
        member.plan.orientation, other.spacing_mm, other.normalisation, other.dimensions,
    )  # fmt: skip


def _stream(
    member: LoadedMember,
    stages: tuple[Prepared, ...],
    body: NDArray[np.bool_] | None,
    window: Window,
    device: torch.device,
    look: Look | None = None,
) -> Iterator[LogitBlock]:
    """The blocks of one member's mean logits; a first stage is gone through whole before them."""
    prepared, image = stages[-1], stages[-1].image
    if member.previous is not None and body is not None:
        first = restore_blocks(
            _stream(member.previous, stages[:1], None, window, device),
            stages[0].grid,
            member.plan.labels,
            floor=member.previous.configuration.logit_floor,
        )
        image = np.concatenate([image, prepare_previous(first, prepared.grid, member.plan.labels, body)])
    return stream_logits(
        member.forwards,
        torch.from_numpy(np.ascontiguousarray(image)),
        member.configuration.patch_size,
        member.plan.labels.channel_count,
        overlap=window.overlap,
        mirror_axes=member.mirror_axes,
        device=device,
        together=window.together,
        sum_device=torch.device(window.sum_device) if window.sum_device else None,
        look=look,
    )


def predict_case(
    volume: Volume,
    members: Sequence[LoadedMember],
    window: Window,
    device: torch.device,
    *,
    with_probabilities: bool = False,
) -> tuple[Segmentation, NDArray[np.float32] | None]:
    """The mask of one scan.

    Args:
        volume: the scan, its channels in the plans' order.
        members: the networks and how scans are prepared for them; probabilities of several are averaged.
        window: how the scan is gone through.
        device: where the windows are computed.
        with_probabilities: also return probabilities, at the cost of their memory.
    Returns:
        the mask on the scan's grid, without postprocessing, and the probabilities (channel, i, j, k) or None.
    Raises:
        PlanError: the scan has another number of channels than a plan.
        ModelError: a network gives numbers that are not finite.
    """
    prepared = prepare_scan(volume, members)
    return segment_scan(prepared, members, window, device, with_probabilities=with_probabilities)
