"""Batch norms that take mean and variance over the whole batch where several processes have a part of it each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medseg.training.distributed.parallel import Ranks, find_ranks

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def share_batch_norms(network: nn.Module, ranks: Ranks) -> nn.Module:
    """The network with batch norms over the batch of all processes; as it is without batch norms or with one process.

    Args:
        network: on its device; parameters, buffers and their names stay the same.
        ranks: the processes.
    Returns:
        the network.
    """
    if ranks.count == 1 or not any(isinstance(module, BATCH_NORM) for module in network.modules()):
        return network
    if next(network.parameters()).device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-any-return, no-untyped-call]
    return _convert(network)


def _convert(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _convert(child))
    if not isinstance(module, BATCH_NORM):
        return module
    shared = CpuBatchNorm(module.num_features, module.eps, module.momentum)
    for name, parameter in module.named_parameters(recurse=False):
        shared.register_parameter(name, parameter)
    for name, buffer in module.named_buffers(recurse=False):
        shared.register_buffer(name, buffer)
    return shared.train(module.training)


class CpuBatchNorm(nn.SyncBatchNorm):
    """``SyncBatchNorm`` on a processor, where PyTorch's own refuses to run."""

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channel, ...) of this process, normalised over those of all processes."""
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        ranks, values = find_ranks(), x.float()
        axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
        own = torch.tensor([values.numel() / values.shape[1]], device=x.device)
        count = ranks.add(own)
        mean = ranks.add_with_gradient(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = ranks.add_with_gradient((centred * centred).sum(axes)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        return (y * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as every batch norm does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1.0 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
