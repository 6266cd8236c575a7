"""Which engine computes a network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

import torch

from medseg.compute.devices import choose_precision
from medseg.core.errors import MissingExtraError, PlanError

Engine = Literal["torch", "openvino"]
Precision = Literal["exact", "bf16"]

AS_ASKED = "as asked for"
OPENVINO_REMEDY = 'Install it with: pip install "medseg[openvino]", or use --engine torch'


def choose_engine(name: str, device: torch.device, precision: Precision) -> tuple[Engine, str]:
    """The engine called ``name``, and why it is taken.

    Args:
        name: ``torch``, ``openvino``, or ``auto``: OpenVINO where it is installed, bfloat16 was asked for and the
            processor multiplies it; PyTorch everywhere else, since only PyTorch gives exact masks.
        device: where networks run; OpenVINO has the CPU.
        precision: ``exact`` or ``bf16``.
    Returns:
        ``torch`` or ``openvino``; and the reason, a few words.
    Raises:
        PlanError: an unknown name, or OpenVINO with a GPU.
        MissingExtraError: OpenVINO is asked for and not installed.
    """
    specs = {"openvino": find_spec("openvino"), "onnx": find_spec("onnx"), "onnxscript": find_spec("onnxscript")}
    absent = [package for package, spec in specs.items() if spec is None]
    if name == "auto":
        return _choose_by_machine(device, precision, absent)
    if name == "torch":
        return "torch", AS_ASKED
    if name != "openvino":
        raise PlanError(f"unknown engine {name!r}", remedy="Known: torch, openvino, auto")
    if device.type != "cpu":
        raise PlanError(f"the engine openvino runs on the CPU, not on {device}", remedy="Use --device cpu")
    if absent:
        raise MissingExtraError(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed", remedy=OPENVINO_REMEDY
        )
    return "openvino", AS_ASKED


def _choose_by_machine(device: torch.device, precision: Precision, absent: Sequence[str]) -> tuple[Engine, str]:
    if device.type != "cpu":
        return "torch", f"the networks run on {device}, and OpenVINO on the CPU alone"
    if precision == "exact":
        return "torch", "it alone computes exact masks; with --precision bf16 OpenVINO may be faster"
    if choose_precision("auto", device) != torch.bfloat16:
        return "torch", "this processor does not multiply in bfloat16"
    if absent:
        return (
            "torch",
            f"{' and '.join(absent)}, for the faster OpenVINO, {'is' if len(absent) == 1 else 'are'} not installed",
        )
    return "openvino", "it is the fastest in bfloat16 on this processor"
