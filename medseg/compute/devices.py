"""Which device and precision a network runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core.errors import ResourceError

if TYPE_CHECKING:
    import torch


def count_cores() -> int:
    """Processor cores this process may use, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``.

    Args:
        name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    Returns:
        the device.
    Raises:
        ResourceError: the device is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = f"device {name!r} cannot be used: {error}"
        raise ResourceError(reason, code="no_device", remedy="Use --device cpu or auto") from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The number type for a network's arithmetic.

    Args:
        name: ``auto``, ``float32``, ``bf16``, ``fp16``; ``auto`` takes bf16 where the hardware multiplies it faster.
        device: where the network runs.
    Returns:
        ``torch.float32``, ``torch.bfloat16`` or ``torch.float16``.
    """
    import torch

    named = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name != "auto":
        return named[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    # Without these instructions oneDNN emulates bf16, slower than float32.
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8").partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
