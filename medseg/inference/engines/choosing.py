"""Which engine computes a network."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import torch

from medseg.compute.devices import choose_precision
from medseg.core.errors import MissingExtraError, PlanError

Engine = Literal["torch", "openvino"]
Precision = Literal["exact", "bf16"]

OPENVINO_REMEDY = 'Install it with: pip install "medseg[openvino]", or use --engine torch'


def choose_engine(name: str, device: torch.device, precision: Precision) -> Engine:
    """The engine called ``name``.

    Args:
        name: ``torch``, ``openvino``, or ``auto``: OpenVINO where it is installed, bfloat16 was asked for and the
            processor multiplies it; PyTorch everywhere else, since only PyTorch gives exact masks.
        device: where networks run; OpenVINO has the CPU.
        precision: ``exact`` or ``bf16``.
    Returns:
        ``torch`` or ``openvino``.
    Raises:
        PlanError: an unknown name, or OpenVINO with a GPU.
        MissingExtraError: OpenVINO is asked for and not installed.
    """
    specs = {"openvino": find_spec("openvino"), "onnx": find_spec("onnx"), "onnxscript": find_spec("onnxscript")}
    absent = [package for package, spec in specs.items() if spec is None]
    if name == "auto":
        fast = device.type == "cpu" and precision == "bf16" and choose_precision("auto", device) == torch.bfloat16
        return "openvino" if fast and not absent else "torch"
    if name == "torch":
        return "torch"
    if name != "openvino":
        raise PlanError(f"unknown engine {name!r}", remedy="Known: torch, openvino, auto")
    if device.type != "cpu":
        raise PlanError(f"the engine openvino runs on the CPU, not on {device}", remedy="Use --device cpu")
    if absent:
        raise MissingExtraError(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed", remedy=OPENVINO_REMEDY
        )
    return "openvino"
