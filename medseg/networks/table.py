"""The table of architectures: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from medseg.core.plan import Configuration, NetworkPlan
from medseg.core.registry import Registry
from medseg.networks.unet import build_plain_unet, build_residual_unet

BuildNetwork = Callable[[NetworkPlan, int, int], nn.Module]

NETWORKS: Registry[BuildNetwork] = Registry("network")
NETWORKS.add("plain_unet")(build_plain_unet)
NETWORKS.add("residual_unet")(build_residual_unet)


def build_network(
    configuration: Configuration, inputs: int, outputs: int, *, network: str | BuildNetwork | None = None, seed: int = 0
) -> nn.Module:
    """The configuration's network with freshly drawn weights.

    Args:
        configuration: whose network plan is built.
        inputs: image channels.
        outputs: channels of the logits (``LabelScheme.channel_count``).
        network: another entry of the table, or a function ``(plan, inputs, outputs) -> Module``, than the plan's.
        seed: of the weights; the global generator is left as it was.
    Returns:
        a module from (batch, channel, ...) to a list of logits, the finest first; with one tensor in evaluation mode.
    Raises:
        PlanError: the table has no such network.
    """
    build = NETWORKS.get(network or configuration.network.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(configuration.network, inputs, outputs)
