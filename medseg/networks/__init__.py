"""Networks: ``build_network(configuration, ...)`` and the table of architectures."""

from medseg.networks.adapter import Adapter
from medseg.networks.checkpointing import checkpoint_gradients
from medseg.networks.table import NETWORKS, UNETS, BuildNetwork, build_network, is_object, name_object

__all__ = [
    "NETWORKS",
    "UNETS",
    "Adapter",
    "BuildNetwork",
    "build_network",
    "checkpoint_gradients",
    "is_object",
    "name_object",
]
