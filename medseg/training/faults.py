"""Faults of what a user brings to training, and of memory, in words that say whose they are and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from medseg.core.errors import MedsegError, ResourceError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def name_faults(function: Callable[Parameters, Result], what: str, thing: object) -> Callable[Parameters, Result]:
    """The same function, whose faults say whose they are.

    Args:
        function: the user's or ours.
        what: ``loss``, ``network``, ``augmentation``, ``callback``.
        thing: the object, for its name.
    Returns:
        a function that raises ResourceError with code ``plugin_failed`` where ``function`` raises something; errors of
        medseg's own and a full memory pass as they are.
    """

    def call(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return function(*args, **options)
        except MedsegError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ResourceError(
                f"{what} {name_of(thing)!r} raised {type(error).__name__}: {error}",
                code="plugin_failed",
                remedy="What was trained so far is saved; mend it and run the same command again",
            ) from error

    return call


def name_of(thing: object) -> str:
    """What an object is called: itself where it is a name, else its function's or class's name; empty for None."""
    if isinstance(thing, str):
        return thing
    return "" if thing is None else getattr(thing, "__qualname__", type(thing).__qualname__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a GPU or of the computer is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("DefaultCPUAllocator: can't allocate", "CUBLAS_STATUS_ALLOC_FAILED", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def explain_memory(title: str, device: torch.device, error: BaseException) -> ResourceError:
    """The error to raise where a training step does not fit into memory."""
    reason = f"{title}: a training step does not fit into the memory of {device}: {error}"
    return ResourceError(
        reason.partition("\n")[0],
        code="out_of_memory",
        remedy="Use a smaller --set batch_size=... (with --set accumulation=2 for the same step), "
        "--set gradient_checkpointing=true, or a plan for less --gpu-memory-gb",
    )
