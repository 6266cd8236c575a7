"""The table of architectures: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from medseg.core.plan import Configuration, NetworkPlan
from medseg.core.registry import Registry
from medseg.networks import mednext
from medseg.networks.adapter import Adapter, give_list
from medseg.networks.attention_unet import build_attention_unet
from medseg.networks.dynunet import build_dynunet
from medseg.networks.segresnet import build_segresnet
from medseg.networks.swin_unetr import build_swin_unetr
from medseg.networks.unet import UNet, build_plain_unet, build_residual_unet

BuildNetwork = Callable[[NetworkPlan, int, int], nn.Module]

# Those that take only inputs that the plan's strides divide, and whose memory has a closed form.
UNETS = ("plain_unet", "residual_unet")

NETWORKS: Registry[BuildNetwork] = Registry("network")
NETWORKS.add("plain_unet")(build_plain_unet)
NETWORKS.add("residual_unet")(build_residual_unet)
NETWORKS.add("mednext_s")(partial(mednext.build_mednext, size=mednext.SMALL))
NETWORKS.add("mednext_b")(partial(mednext.build_mednext, size=mednext.BASE))
NETWORKS.add("mednext_m")(partial(mednext.build_mednext, size=mednext.MEDIUM))
NETWORKS.add("mednext_l")(partial(mednext.build_mednext, size=mednext.LARGE))
NETWORKS.add("segresnet")(build_segresnet)
NETWORKS.add("swin_unetr")(build_swin_unetr)
NETWORKS.add("dynunet")(build_dynunet)
NETWORKS.add("attention_unet")(build_attention_unet)


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
        PlanError: the table has no such network, or it cannot be built for the plan.
    """
    build = NETWORKS.get(network or configuration.network.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(configuration.network, inputs, outputs)
    return module if isinstance(module, Adapter | UNet) else give_list(module)
