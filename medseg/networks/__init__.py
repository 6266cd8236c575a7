"""Networks: ``build_network(configuration, ...)`` and the table of architectures."""

from medseg.networks.table import NETWORKS, BuildNetwork, build_network

__all__ = ["NETWORKS", "BuildNetwork", "build_network"]
