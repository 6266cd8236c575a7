"""A model's networks as files of other libraries, and how far their answers lie from the model's."""

from medseg.inference.exports.networks import compare_networks, explain_networks, export_networks
from medseg.inference.exports.parity import Comparison, compare_exports

__all__ = ["Comparison", "compare_exports", "compare_networks", "explain_networks", "export_networks"]
