"""Gradients of several processes, added while the backward pass still runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from medseg.training.distributed.parallel import Ranks, notice_loss

# As PyTorch's own data-parallel training sends them: large enough for a network's speed, soon enough to hide behind the
# rest of the backward pass.
BUCKET_BYTES = 25 * 2**20


class GradientSum:
    """Replaces the gradients of a network's parameters by their sum over all processes.

    PyTorch's DistributedDataParallel does this too. It wraps the network, which changes the names of its weights, and
    it fails where some output has no part in the loss, as the coarsest stage of deep supervision has none.

    Args:
        network: whose parameters' gradients are added; each process has the same network.
        ranks: the processes.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._adding = False
        self._waiting: list[nn.Parameter] = []
        self._sent: list[tuple[list[nn.Parameter], Tensor, Any]] = []
        if ranks.count > 1:
            for parameter in self.parameters:
                parameter.register_post_accumulate_grad_hook(self._take)  # type: ignore[no-untyped-call]

    @contextmanager
    def adding(self, *, now: bool = True) -> Iterator[None]:
        """Add the gradients of the backward pass inside the block; where not ``now``, they wait for a later one."""
        if self.ranks.count == 1 or not now:
            yield
            return
        self._adding, self._waiting, self._sent = True, [], []
        try:
            yield
        finally:
            self._adding = False
        self._finish()

    def _take(self, parameter: Tensor) -> None:
        if not self._adding:
            return
        assert isinstance(parameter, nn.Parameter)
        self._waiting.append(parameter)
        if sum(_count_bytes(each) for each in self._waiting) >= BUCKET_BYTES:
            self._send()

    def _send(self) -> None:
        """Begin to add what waits; every process has the same parameters in the same order."""
        if self._waiting:
            flat = torch.cat([parameter.grad.reshape(-1) for parameter in self._waiting if parameter.grad is not None])
            with notice_loss():
                self._sent.append((self._waiting, flat, dist.all_reduce(flat, async_op=True)))
            self._waiting = []

    def _finish(self) -> None:
        taken = {id(parameter) for parameters, _, _ in self._sent for parameter in parameters}
        taken |= {id(parameter) for parameter in self._waiting}
        # What only an earlier one of the step's batches reached.
        self._waiting += [each for each in self.parameters if each.grad is not None and id(each) not in taken]
        self._send()
        for parameters, flat, work in self._sent:
            with notice_loss():
                work.wait()
            parts = torch.split(flat, [parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                assert parameter.grad is not None
                parameter.grad.copy_(part.view(parameter.shape))
        self._sent = []


def _count_bytes(parameter: nn.Parameter) -> int:
    return parameter.numel() * parameter.element_size()
