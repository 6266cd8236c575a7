"""Sharing out the time of ``medseg run``: what prediction will cost, so that training gets the rest."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.errors import PlanError
from medseg.core.plan import Configuration, Plan
from medseg.inference import as_forward, place_windows
from medseg.networks import build_network

# Per case: reading, resampling, writing, scoring, measuring and drawing; our own measurement on two cores, generous.
SECONDS_PER_CASE = 0.5
SECONDS_PER_VOXEL = 1.5e-6
# A shared machine is not equally fast all the time.
SAFETY = 1.2
FIXED_SECONDS = 8.0
SHORTEST_TRAINING_S = 5.0


def time_window(plan: Plan, configuration: Configuration, device: str) -> float:
    """Seconds that the configuration's network needs for one window, measured once on random numbers."""
    chosen = choose_device(device)
    network = build_network(configuration, plan.count_inputs(configuration), plan.labels.channel_count).to(chosen)
    precision = choose_precision(configuration.training.precision, chosen)
    forward = as_forward(network, configuration.dimensions, precision)
    windows = torch.randn(2, plan.count_inputs(configuration), *configuration.patch_size, device=chosen)
    with torch.inference_mode():
        forward(windows)
        began = time.perf_counter()
        forward(windows).sum().item()
    return (time.perf_counter() - began) / len(windows)


def predict_seconds(
    configuration: Configuration, shapes: Sequence[tuple[int, ...]], seconds_per_window: float, *, networks: int = 1
) -> float:
    """How long predicting and scoring scans will take.

    Args:
        configuration: patch and mirroring.
        shapes: the scans' voxels as prepared.
        seconds_per_window: from ``time_window``.
        networks: how many are averaged.
    Returns:
        seconds, with some to spare.
    """
    total = 0.0
    for shape in shapes:
        padded = [max(length, size) for length, size in zip(shape, configuration.patch_size, strict=True)]
        windows = len(place_windows(padded, configuration.patch_size))
        flipped = [axis for axis in configuration.training.prediction_axes if configuration.patch_size[axis] > 1]
        copies = 2 ** len(flipped) * networks
        voxels = 1
        for length in shape:
            voxels *= length
        total += windows * copies * seconds_per_window + SECONDS_PER_CASE + SECONDS_PER_VOXEL * voxels
    return total * SAFETY


def share_budget(left_s: float, later_s: float, folds: int) -> float:
    """Seconds of training for each fold.

    Args:
        left_s: what is left of the budget.
        later_s: what everything after training will cost.
        folds: how many networks are trained.
    Returns:
        seconds a fold.
    Raises:
        PlanError: nothing is left to train in.
    """
    each = (left_s - later_s - FIXED_SECONDS) / folds
    if each < SHORTEST_TRAINING_S:
        raise PlanError(
            f"the budget leaves {max(0, each):.0f} s to train each of {folds} networks: {left_s:.0f} s are left and "
            f"prediction needs about {later_s + FIXED_SECONDS:.0f} s",
            code="budget_too_short",
            remedy="Give a longer --budget or fewer --folds",
        )
    return each
