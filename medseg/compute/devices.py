"""Which device and precision a network runs in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core.errors import ResourceError

if TYPE_CHECKING:
    import torch

BYTES_PER_GB = 10**9


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


@dataclass(frozen=True)
class Gpu:
    """A graphics processor that PyTorch can use; memory in 10^9 bytes."""

    name: str
    free_gb: float
    total_gb: float


def list_gpus() -> tuple[Gpu, ...]:
    """The graphics processors that PyTorch can use; empty where there is none."""
    import torch

    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        gpus.append(Gpu(torch.cuda.get_device_name(number), free / BYTES_PER_GB, total / BYTES_PER_GB))
    return tuple(gpus)


def name_cuda() -> str | None:
    """The version of CUDA that PyTorch was built for; None where it was built without."""
    import torch

    version: str | None = torch.version.cuda
    return version


def name_precision(device: torch.device | str) -> str:
    """The number type that training takes on a device unless told otherwise: ``bfloat16``, for instance."""
    import torch

    return str(choose_precision("auto", torch.device(device))).removeprefix("torch.")


def measure_product_error(device: torch.device) -> float:
    """The largest error of a product of two 256 x 256 matrices of normal numbers in float32 on a device."""
    import torch

    first, second = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    found = (first.to(device) @ second.to(device)).cpu().double()
    return float((found - first.double() @ second.double()).abs().max())
