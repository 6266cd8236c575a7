"""Several processes that train one network together, started by torchrun: who they are and what they tell each other.

Each process (rank) takes its samples of every batch; gradients, losses and the sums of a batch Dice are added over all
of them, so that the weights move as one process with the whole batch would move them.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from medseg.compute.devices import choose_device
from medseg.core.errors import PlanError, ResourceError
from medseg.training.distributed.heartbeat import watch_ranks

logger = logging.getLogger(__name__)

# What torchrun (or any other launcher) puts into the environment of each process.
ADDRESS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# How long one process waits for another in the middle of training: longer than compiling or a slow disk takes. A
# process that ends is noticed at once, one that is stopped by its heartbeat.
PATIENCE = timedelta(minutes=30)
# Where one process has more to do than another: validation of whole scans.
LONG_PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, seen from one of them.

    Args:
        rank: this one, from 0; the first writes checkpoints, logs and tables.
        count: how many there are.
        local: this one's place on its machine, which is its GPU's.
        local_count: how many there are on this machine.
        control: the group over which they agree in the middle of training, on the processor.
        talk: the group over which they tell each other more, and wait longer.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1
    control: Any = field(default=None, repr=False)
    talk: Any = field(default=None, repr=False)

    @property
    def is_first(self) -> bool:
        """Whether this one writes for all."""
        return self.rank == 0

    def take_share(self, items: Sequence[Any]) -> Sequence[Any]:
        """Every ``count``-th item, so that all together have each once."""
        return items[self.rank :: self.count]

    def count_share(self, total: int) -> int:
        """How many of ``total`` samples are this process's; raises PlanError where there are not enough for all."""
        if total < self.count:
            raise PlanError(
                f"{self.count} processes share a batch of {total}",
                code="bad_setting",
                remedy=f"Start at most {total} with --nproc-per-node, or use a larger --set batch_size=...",
            )
        return len(range(self.rank, total, self.count))

    @contextmanager
    def one_by_one(self) -> Iterator[None]:
        """Let the first process through the block before the others, which then find its work done."""
        if not self.is_first:
            self.gather(None)
        yield
        if self.is_first:
            self.gather(None)

    def place(self, device: str) -> str:
        """This process's device where the user named ``device``; raises ResourceError where no GPU is left."""
        if self.count == 1 or choose_device(device).type != "cuda":
            return device
        if ":" in device:
            raise PlanError(
                f"device {device!r} for {self.count} processes, of which each needs a GPU of its own",
                code="bad_setting",
                remedy="Use --device auto, and CUDA_VISIBLE_DEVICES to choose among GPUs",
            )
        if self.local >= torch.cuda.device_count():
            raise ResourceError(
                f"process {self.local + 1} of this machine has no GPU of its own: it has {torch.cuda.device_count()}",
                code="no_device",
                remedy="Start fewer with --nproc-per-node",
            )
        torch.cuda.set_device(self.local)
        return f"cuda:{self.local}"

    def add(self, values: Tensor) -> Tensor:
        """The sum over all processes, without a gradient."""
        total = values.detach().clone()
        if self.count > 1:
            with notice_loss():
                dist.all_reduce(total)
        return total

    def add_with_gradient(self, values: Tensor) -> Tensor:
        """The sum over all processes; what any of them makes of it flows back into ``values``."""
        return values if self.count == 1 else _Sum.apply(values)  # type: ignore[no-untyped-call]

    def take_largest(self, values: Sequence[int]) -> list[int]:
        """The largest of all processes' values, place by place, so that all decide alike."""
        if self.count == 1:
            return list(values)
        found = torch.tensor(values)
        with notice_loss():
            dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return [int(value) for value in found]

    def gather(self, content: Any) -> list[Any]:
        """What each process has to tell, as JSON, in the order of their ranks; waits for all of them."""
        if self.count == 1:
            return [content]
        own = torch.frombuffer(bytearray(json.dumps(content).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with notice_loss():
            dist.all_gather(sizes, torch.tensor([own.numel()]), group=self.talk)
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: own.numel()] = own
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.count)]
        with notice_loss():
            dist.all_gather(texts, padded, group=self.talk)
        return [json.loads(bytes(text[: int(size)].tolist()).decode()) for text, size in zip(texts, sizes, strict=True)]


@contextmanager
def notice_loss() -> Iterator[None]:
    """Name what it means where the others do not answer; raises ResourceError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ResourceError(
            f"another process of this training has ended or does not answer ({str(error).splitlines()[0][:200]})",
            code="process_lost",
            remedy="Its own message says why; the same command goes on from the last checkpoint",
        ) from error


ALONE = Ranks()
_found: Ranks | None = None


def find_ranks(device: str = "auto") -> Ranks:
    """The processes that torchrun started beside this one; they find each other on the first call.

    Args:
        device: where the network will be: processes speak over NCCL on GPUs, over Gloo elsewhere.
    Returns:
        the processes, ``ALONE`` where this is the only one. Of the others than the first, errors alone are logged.
    Raises:
        PlanError: the environment names several processes and does not say how to reach them.
        ResourceError: they do not find each other.
    """
    global _found
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return ALONE
    if _found is None:
        _found = _join(device)
        if not _found.is_first:
            logging.getLogger("medseg").setLevel(logging.ERROR)
    return _found


def _join(device: str) -> Ranks:
    missing = [name for name in ADDRESS if not os.environ.get(name)]
    if missing:
        raise PlanError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set",
            code="bad_environment",
            remedy="Start with torchrun --nproc-per-node N -m medseg train ..., or unset WORLD_SIZE",
        )
    backend = "nccl" if choose_device(device).type == "cuda" else "gloo"
    try:
        if not dist.is_initialized():  # else by the user's own program, which ends it too
            store, rank, count = next(iter(rendezvous("env://")))
            dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=count)
            atexit.register(dist.destroy_process_group)
            atexit.register(watch_ranks(store, rank, count))
        control, talk = (dist.new_group(backend="gloo", timeout=time) for time in (PATIENCE, LONG_PATIENCE))
    except (RuntimeError, ValueError) as error:
        raise ResourceError(f"the processes do not find each other: {error}", code="no_ranks") from None
    local, local_count = int(os.environ.get("LOCAL_RANK") or 0), int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    return Ranks(dist.get_rank(), dist.get_world_size(), local, local_count, control, talk)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Its gradient is the sum of theirs, since each process's loss depends on it."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        with notice_loss():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        with notice_loss():
            dist.all_reduce(total)
        return total
