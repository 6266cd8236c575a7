"""Orders of sums that were seen on this machine, kept between runs: to see them anew takes half a second.

They hold for what decides in which order a library adds: its version, the processor, the number of threads, the
libraries' own variables. Whatever differs in these has a file of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from medseg.compute.user_cache import find_cache
from medseg.core.errors import MedsegError
from medseg.core.records import Record
from medseg.inference.engines.summed_conv import Order, Triple

logger = logging.getLogger(__name__)

# By image, weights, stride, padding, threads, and whether PyTorch unrolls.
Shapes = tuple[torch.Size, torch.Size, Triple, Triple, int, bool]
# What the names of variables begin with by which PyTorch, MKL, oneDNN and OpenMP are told how to compute.
VARIABLES = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "TORCH_")
# To be raised when orders come to mean something else.
FORMAT = "medseg-orders-1"


class KnownOrder(Record):
    """The order of one convolution's sums; ``block`` and ``by_voxel`` are None where none of ours has its bits."""

    image: tuple[int, ...]
    weight: tuple[int, ...]
    stride: Triple
    padding: Triple
    threads: int
    unrolled: bool
    block: int | None
    by_voxel: bool | None


class KnownOrders(Record):
    """All that are known; ``digest`` is their SHA-256, since a disk's fault must not change a mask."""

    orders: tuple[KnownOrder, ...]
    digest: str


def read_orders() -> dict[Shapes, Order | None]:
    """What earlier runs saw under the same conditions; empty where nothing is kept, or not as it was written."""
    try:
        kept = KnownOrders.read(_find_file())
    except (OSError, RuntimeError, MedsegError):  # RuntimeError: a user without a home folder
        return {}
    if kept.digest != _digest(kept.orders):
        return {}
    return {
        (torch.Size(one.image), torch.Size(one.weight), one.stride, one.padding, one.threads, one.unrolled): (
            None if one.block is None else Order(one.block, by_voxel=bool(one.by_voxel))
        )
        for one in kept.orders
    }


def write_orders(orders: Mapping[Shapes, Order | None]) -> None:
    """Keep orders for later runs; where the folder cannot be written, they see them anew."""
    known = tuple(
        KnownOrder(
            image=tuple(image),
            weight=tuple(weight),
            stride=stride,
            padding=padding,
            threads=threads,
            unrolled=unrolled,
            block=None if order is None else order.block,
            by_voxel=None if order is None else order.by_voxel,
        )
        for (image, weight, stride, padding, threads, unrolled), order in orders.items()
    )
    try:
        file = _find_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        KnownOrders(orders=known, digest=_digest(known)).write(file)
    except (OSError, RuntimeError, MedsegError) as error:
        logger.info("orders of sums are not kept for the next run (%s)", type(error).__name__)


def _find_file() -> Path:
    return find_cache("orders") / f"{_describe_conditions()}.json"


@cache
def _describe_conditions() -> str:
    """A key of all that decides how this process's libraries add."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0]
        processor = [line for line in first.splitlines() if line.startswith(("model name", "flags", "cpu family"))]
    except OSError:  # another system than Linux
        processor = [platform.processor(), platform.machine()]
    variables = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(VARIABLES))
    build = [FORMAT, torch.__version__, torch.__config__.show(), torch.backends.cpu.get_cpu_capability()]
    return hashlib.sha256("\n".join([*build, *processor, *variables]).encode()).hexdigest()[:16]


def _digest(orders: tuple[KnownOrder, ...]) -> str:
    content = json.dumps([order.model_dump(mode="json") for order in orders])
    return hashlib.sha256(content.encode()).hexdigest()
