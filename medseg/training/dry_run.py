"""A dry run before training: how much memory a step takes, predicted and measured."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.errors import ResourceError
from medseg.core.plan import Configuration, Plan
from medseg.networks import UNETS
from medseg.planning.memory import BYTES_PER_GB, FIXED_GB, estimate_memory_gb
from medseg.training.distributed.parallel import find_ranks
from medseg.training.faults import explain_memory, is_out_of_memory
from medseg.training.job import Job
from medseg.training.learner import make_learner, make_recipe
from medseg.training.patches.recipe import Batch, Recipe
from medseg.training.patches.sampling import generator_of
from medseg.training.steps import take_step

logger = logging.getLogger(__name__)

STEPS = 2  # the first one's algorithms are still being looked for
TOLERANCE = 0.15  # of the measured peak; where the prediction is further off, that is a warning
NOTHING: Mapping[str, Any] = MappingProxyType({})


def note_memory(
    plan: Plan, configuration: Configuration, *, title: str, device: str = "auto", objects: Mapping[str, Any] = NOTHING
) -> Configuration:
    """The configuration with the memory of a step as predicted and, on a GPU, as measured by a dry run.

    Args:
        plan, configuration: what will be trained.
        title: what messages begin with.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        objects: ``loss``, ``network``, ``augmentations`` of ``train_fold``; others are not looked at.
    Returns:
        the configuration; on a CPU, and as planned, as it was. Of several processes that train together, the memory of
            one is predicted, and nothing is measured. Where the step does not fit, nothing is measured: that
        is said, and training finds out what can be done about it.
    Raises:
        ResourceError: the device is not there.
        PlanError: the network cannot be built.
    """
    ranks = find_ranks(device)
    chosen = choose_device(ranks.place(device))
    if chosen.type == "cpu" and configuration == plan.configurations.get(configuration.name):
        return configuration
    share = configuration.model_copy(update={"batch_size": ranks.count_share(configuration.batch_size)})
    predicted = predict_memory_gb(plan, share, chosen)
    if ranks.count > 1:  # where a trial step does not fit into one process's memory, the others would wait for it
        return configuration.model_copy(update={"memory_gb": predicted})
    given = {key: value for key, value in objects.items() if key in ("loss", "network", "augmentations")}
    job = Job(plan, configuration, (), (), Path(), title, device=device, **given)
    try:
        measured = measure_step_memory(job)
    except ResourceError as error:
        if error.code != "out_of_memory":
            raise
        logger.warning("dry run: %s", error.reason)
        measured = None
    if measured is not None:
        _tell(title, chosen, predicted, measured)
    return configuration.model_copy(update={"memory_gb": predicted, "measured_memory_gb": measured})


def predict_memory_gb(plan: Plan, configuration: Configuration, device: torch.device) -> float | None:
    """The peak memory of a training step in closed form, with the number type that the device trains in.

    Args:
        plan: for channels and labels.
        configuration: what is trained.
        device: where.
    Returns:
        GB (10^9 bytes); None for a network that has no closed form.
    """
    if configuration.network.name not in UNETS:
        return None
    precision = choose_precision(configuration.training.precision, device)
    return estimate_memory_gb(
        configuration.network,
        configuration.patch_size[3 - configuration.dimensions :],
        configuration.batch_size,
        plan.count_inputs(configuration),
        plan.labels.channel_count,
        configuration.training,
        bytes_per_element=precision.itemsize,
    )


def measure_step_memory(job: Job) -> float | None:
    """The peak memory of a training step on a GPU, measured by taking some on random numbers with a network of its own.

    Args:
        job: what will be trained; its cases are not read, its run is left alone.
    Returns:
        GB (10^9 bytes), with the fixed part that PyTorch does not see, as the prediction counts it; None on a CPU,
        whose libraries do not tell.
    Raises:
        ResourceError: the step does not fit.
    """
    device = choose_device(job.device)
    if device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        take_trial_steps(job)
    except Exception as error:
        if is_out_of_memory(error):
            raise explain_memory(job.title, device, error) from error
        raise
    peak = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    return round(peak / BYTES_PER_GB + FIXED_GB, 2)


def take_trial_steps(job: Job) -> None:
    """Take some steps as training will, on random numbers, with a network that is thrown away.

    Args:
        job: what will be trained; its cases are not read.
    """
    # Compiling takes minutes and saves memory: what fits without it fits with it.
    training = job.configuration.training.model_copy(update={"compile": False})
    job = replace(job, configuration=job.configuration.model_copy(update={"training": training}))
    learner = make_learner(job)
    average = list(learner.network.state_dict().values()) if training.ema_decay > 0 else []
    held = [tensor.clone() for tensor in average]
    recipe, channels = make_recipe(job), job.plan.count_inputs(job.configuration)
    for number in range(STEPS):
        batches = [_draw_batch(job, recipe, channels, number)] * min(2, training.accumulation)
        take_step(learner, batches, training.learning_rate)
    del held


def _draw_batch(job: Job, recipe: Recipe, channels: int, number: int) -> Batch:
    """Noise with half of it labelled, of the size that is read."""
    generators = [generator_of(recipe.seed, number * recipe.batch_size + slot) for slot in range(recipe.batch_size)]
    images = generators[0].standard_normal((recipe.batch_size, channels, *recipe.read_size), np.float32)
    value = job.plan.labels.foreground[0]
    kind = torch.uint8 if max(job.plan.labels.values) < 256 else torch.int32
    labels = torch.zeros((recipe.batch_size, *recipe.read_size), dtype=kind)
    labels[..., : recipe.read_size[-1] // 2] = value
    return Batch(torch.from_numpy(images), labels, generators, [0] * recipe.batch_size)


def _tell(title: str, device: torch.device, predicted: float | None, measured: float) -> None:
    total = torch.cuda.get_device_properties(device).total_memory / BYTES_PER_GB
    words = f"{title}: a step takes {measured:.1f} of the GPU's {total:.1f} GB"
    if predicted is None:
        logger.info("%s", words)
    else:
        off = abs(predicted - measured) / measured > TOLERANCE
        logger.log(logging.WARNING if off else logging.INFO, "%s; %.1f were predicted", words, predicted)
