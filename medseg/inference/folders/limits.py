"""Keeping within memory: settings chosen before a case starts, and smaller ones where memory runs out all the same."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from medseg.core.errors import ResourceError
from medseg.inference.folders.memory import BYTES_PER_GB, MemoryEstimate, format_gb
from medseg.inference.members import LoadedMember, load_member
from medseg.inference.predictor import Predictor
from medseg.inference.streaming import choose_together

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

CPU = torch.device("cpu")
RAM_OPTION, VRAM_OPTION = "--max-ram-gb", "--max-vram-gb"
# What libraries say where they raise no type of their own for it.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed", "bad allocation", "bad_alloc")


@dataclass(frozen=True)
class RunSettings:
    """What decides how much memory a scan takes while it goes through the networks; its mask does not depend on it.

    Args:
        device: where the networks are.
        together: windows, mirrored copies included, that go through a network at once.
        sum_device: where windows are summed.
    """

    device: torch.device
    together: int
    sum_device: torch.device

    def describe(self) -> str:
        """In words, for messages."""
        sums = ", sums in the computer's memory" if self.sum_device != self.device else ""
        return f"{self.together} window{'s' if self.together > 1 else ''} at a time on {self.device}{sums}"


@dataclass(frozen=True)
class Limits:
    """How much memory may be used; None for as much as there is.

    Args:
        ram_gb: of the computer, 10^9 bytes, the program and its libraries included.
        vram_gb: of the GPU.
    """

    ram_gb: float | None = None
    vram_gb: float | None = None

    def allow(self, estimate: MemoryEstimate) -> bool:
        """Whether a case that needs this much may start."""
        return not self.name_excess(estimate)

    def name_excess(self, estimate: MemoryEstimate) -> str:
        """Which limits an estimate exceeds, in words with the option that sets them; empty where none."""
        exceeded = self._list_exceeded(estimate)
        return ", ".join(
            f"{option} {limit:g}, but {format_gb(needed)} are needed" for option, limit, needed in exceeded
        )

    def name_remedy(self, estimate: MemoryEstimate) -> str:
        """What to do where an estimate exceeds a limit."""
        exceeded = self._list_exceeded(estimate)
        raised = " ".join(f"{option} {math.ceil(10 * needed / BYTES_PER_GB) / 10:g}" for option, _, needed in exceeded)
        on_gpu = any(option == VRAM_OPTION for option, _, _ in exceeded)
        return f"Use {raised} or more{', or --device cpu' if on_gpu else ''}"

    def _list_exceeded(self, estimate: MemoryEstimate) -> list[tuple[str, float, int]]:
        """Option, limit and bytes needed of each limit that an estimate exceeds."""
        kinds = ((RAM_OPTION, self.ram_gb, estimate.ram_bytes), (VRAM_OPTION, self.vram_gb, estimate.vram_bytes))
        return [
            (option, limit, needed)
            for option, limit, needed in kinds
            if limit is not None and needed > limit * BYTES_PER_GB
        ]


def first_settings(predictor: Predictor) -> RunSettings:
    """How a predictor runs where memory sets no bounds."""
    sizes = [member.configuration.patch_size for member in predictor.members]
    together = predictor.window.together or min(choose_together(size, predictor.device) for size in sizes)
    sums = torch.device(predictor.window.sum_device) if predictor.window.sum_device else predictor.device
    return RunSettings(predictor.device, together, sums)


def with_settings(predictor: Predictor, settings: RunSettings) -> Predictor:
    """The predictor with other settings; where they name the CPU and it is on a GPU, its networks are loaded anew.

    Args:
        predictor: a loaded model.
        settings: how it shall run.
    Returns:
        the same object where it runs so already, else one that shares its networks.
    Raises:
        ModelError: the networks, built by a function of the user's, cannot be loaded anew.
    """
    if settings == first_settings(predictor):
        return predictor
    window = replace(predictor.window, together=settings.together, sum_device=str(settings.sum_device))
    if settings.device == predictor.device:
        return replace(predictor, window=window)
    return replace(predictor, window=window, device=settings.device, members=_load_again(predictor, settings.device))


def _load_again(predictor: Predictor, device: torch.device) -> tuple[LoadedMember, ...]:
    sources = [(model, member) for model in predictor.models for member in model.record.members]
    return tuple(
        load_member(
            model, member, device, folds=loaded.folds, engine=predictor.engine, precision=predictor.precision,
            mirroring=bool(loaded.mirror_axes),
        )
        for (model, member), loaded in zip(sources, predictor.members, strict=True)
    )  # fmt: skip


def choose_settings(
    estimate: Callable[[RunSettings], MemoryEstimate], first: RunSettings, limits: Limits
) -> tuple[RunSettings, MemoryEstimate]:
    """The fastest settings with which a case stays within the limits.

    Args:
        estimate: what the case needs with given settings.
        first: what is best without limits.
        limits: to keep.
    Returns:
        the settings: fewer windows at a time where need be, then sums in the computer's memory; and the estimate.
    Raises:
        ResourceError: not even the most frugal settings keep within the limits; the message says what they need.
    """
    for settings in list_settings(first):
        needed = estimate(settings)
        if limits.allow(needed):
            return settings, needed
    raise ResourceError(
        f"{limits.name_excess(needed)} with {settings.describe()}: {needed.describe()}", code="memory",
        remedy=limits.name_remedy(needed),
    )  # fmt: skip


def list_settings(first: RunSettings) -> Iterator[RunSettings]:
    """The ways to run a case, each slower than the one before it and with less memory; the first is ``first``."""
    for sum_device in dict.fromkeys((first.sum_device, CPU)):
        together = first.together
        while together:
            yield replace(first, together=together, sum_device=sum_device)
            together //= 2


def next_settings(settings: RunSettings) -> RunSettings | None:
    """What to try after memory ran out: half the windows, then sums on the CPU, then all there; None for no more."""
    if settings.together > 1:
        return replace(settings, together=settings.together // 2)
    if settings.sum_device != CPU:
        return replace(settings, sum_device=CPU)
    return replace(settings, device=CPU) if settings.device != CPU else None


def step_down(
    run: Callable[[RunSettings], Result], settings: RunSettings, name: str = ""
) -> tuple[Result, RunSettings]:
    """Run with ever smaller settings until the memory suffices, telling each step in one line.

    Args:
        run: the work; it begins anew each time.
        settings: to begin with.
        name: whose work it is, for the lines.
    Returns:
        the result and the settings that gave it.
    Raises:
        ResourceError: the memory does not suffice in any way.
    """
    while True:
        try:
            return run(settings), settings
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the clause above: the error holds on to what was in memory where it came up.
        _free_memory(settings.device)
        following = next_settings(settings)
        what = "GPU memory" if settings.device != CPU else "memory"
        if following is None:
            raise ResourceError(
                f"the {what} is full even with {settings.describe()}", code="memory",
                remedy="Close other programs, or use a machine with more memory",
            )  # fmt: skip
        logger.warning(
            "%s%s is full with %s; now %s", f"{name}: " if name else "", what, settings.describe(), following.describe()
        )
        settings = following


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the computer.

    Args:
        error: any.
    Returns:
        true for PyTorch's and Python's own types, and for what other libraries raise as a RuntimeError.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def _free_memory(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
