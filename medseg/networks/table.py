"""The table of architectures: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from medseg.core.errors import PlanError
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

# What a plan has in place of a name where the network was an object.
OBJECT = "object "

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
        PlanError: the table has no such network, it cannot be built for the plan, or it was an object and is not given.
    """
    if network is None and is_object(configuration.network):
        raise PlanError(
            f"{configuration.name} was trained with a network that no table holds: {configuration.network.name}",
            code="missing_network",
            remedy="In Python give network=... again; or register it in a plugin, and train with --plugin",
        )
    build = NETWORKS.get(network or configuration.network.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(configuration.network, inputs, outputs)
    return module if isinstance(module, Adapter | UNet) else give_list(module)


def is_object(plan: NetworkPlan) -> bool:
    """Whether the network was given as an object, which no file holds."""
    return plan.name.startswith(OBJECT)


def name_object(thing: object) -> str:
    """What stands in plans and records in place of an object.

    Args:
        thing: a function, a class or an instance.
    Returns:
        ``object my_module.build_net``.
    """
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{OBJECT}{named.__module__}.{named.__qualname__}"
