"""Engines: what computes a network's logits, and how far their answers lie apart."""

from medseg.inference.engines.choosing import Engine, Precision, choose_engine
from medseg.inference.engines.forwards import make_forward
from medseg.inference.engines.onnx_file import open_onnx, write_onnx
from medseg.inference.engines.openvino_engine import open_openvino, write_openvino
from medseg.inference.engines.parity import Parity, compare_engines
from medseg.inference.engines.threads import choose_apart
from medseg.inference.engines.torch_engine import as_forward, average_forwards

__all__ = [
    "Engine",
    "Parity",
    "Precision",
    "as_forward",
    "average_forwards",
    "choose_apart",
    "choose_engine",
    "compare_engines",
    "make_forward",
    "open_onnx",
    "open_openvino",
    "write_onnx",
    "write_openvino",
]
