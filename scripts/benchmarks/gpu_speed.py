"""How fast a device trains and predicts, and how much of it reading and bookkeeping cost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from benchmarks.gpu_scene import LABELS, NAME, Size, make_plan, prepare_scans

if TYPE_CHECKING:
    from medseg.training.patches.loader import Batch, Recipe
    from medseg.training.steps import Learner

UNTIMED = 3  # steps or batches that pay for memory and for choosing kernels
REPEATS = 3


def wait_for(device: torch.device) -> None:
    """Until everything given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clock(run: Callable[[], None], device: torch.device) -> float:
    """Seconds of one run."""
    wait_for(device)
    began = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - began


def clock_training(size: Size, device: torch.device, folder: Path, steps: int) -> dict[str, float]:
    """Optimiser steps per second, in three ways.

    Args:
        size: network, batch and scans.
        device: where to train.
        folder: for the prepared scans.
        steps: how many are timed.
    Returns:
        ``loader``: patches that the loader reads from the compressed store; ``constant``: one batch, held on the
        device, augmented anew at each step; ``bare``: the same without augmentation.
    """
    from medseg.augmentation import DEFAULT_AUGMENTATIONS
    from medseg.training.job import Job
    from medseg.training.learner import make_learner, make_recipe
    from medseg.training.patches.loader import iterate_batches
    from medseg.training.steps import take_step

    plan = make_plan(size)
    cases = prepare_scans(size, plan, folder)
    rates = {}
    for name in ("loader", "constant", "bare"):
        augmentations = () if name == "bare" else DEFAULT_AUGMENTATIONS
        job = Job(
            plan,
            plan.configuration(NAME),
            cases,
            [],
            folder,
            size.name,
            device=str(device),
            augmentations=augmentations,
        )
        learner, recipe = make_learner(job), make_recipe(job)
        batches = (
            iterate_batches(cases, recipe, 0, None, device=device)
            if name == "loader"
            else repeat_batch(cases, recipe, device)
        )

        def train(count: int, batches: Iterator[Batch] = batches, learner: Learner = learner) -> None:
            for batch in itertools.islice(batches, count):
                take_step(learner, [batch], 1e-3)

        train(UNTIMED)
        rates[name] = steps / clock(lambda train=train: train(steps), device)
    return rates


def repeat_batch(cases: Sequence, recipe: Recipe, device: torch.device) -> Iterator[Batch]:
    """The first batch again and again, as copies on the device, since augmentation may write into what it gets."""
    from medseg.training.patches.loader import Batch
    from medseg.training.patches.reading import read_batch

    read = read_batch(cases, recipe, 0)
    images, labels = read.images.to(device), read.labels.to(device)
    while True:
        yield Batch(images.clone(), labels.clone(), read.generators, read.cases)


def clock_prediction(size: Size, device: torch.device, precision: torch.dtype) -> dict[str, float]:
    """Windows per second, each mirrored copy counted, in two ways.

    Args:
        size: network and scan.
        device: where to predict.
        precision: of the network's arithmetic.
    Returns:
        ``predict_logits``: a scan in memory to logits on the device; ``bare``: as many windows through the network in
        batches as large, which lie on the device.
    """
    from medseg.inference import as_forward, place_windows, predict_logits
    from medseg.inference.streaming import choose_together
    from medseg.networks import build_network

    configuration = make_plan(size).configuration(NAME)
    network = build_network(configuration, 1, LABELS.channel_count).to(device)
    # In the layout in which a model's networks are loaded.
    forward = as_forward(network.to(memory_format=torch.channels_last_3d), 3, precision)  # type: ignore[call-overload]
    axes = (0, 1, 2)
    image = torch.randn(1, *size.scan)
    windows = len(place_windows(size.scan, size.patch)) * 2 ** len(axes)
    together = min(windows, choose_together(size.patch, device))
    rounds = -(-windows // together)
    batch = torch.randn(together, 1, *size.patch, device=device)

    @torch.inference_mode()
    def run_bare() -> None:
        for _ in range(rounds):
            forward(batch)

    def run_whole() -> None:
        predict_logits(forward, image, size.patch, mirror_axes=axes, device=device)

    run_bare()
    run_whole()
    bare = min(clock(run_bare, device) for _ in range(REPEATS))
    whole = min(clock(run_whole, device) for _ in range(REPEATS))
    return {"predict_logits": windows / whole, "bare": rounds * together / bare}
