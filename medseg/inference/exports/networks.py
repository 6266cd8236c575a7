"""A model's networks as ONNX or OpenVINO files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from medseg.core.model import Member
from medseg.core.plan import Configuration
from medseg.inference.engines import open_onnx, open_openvino, write_onnx, write_openvino
from medseg.inference.exports.parity import Comparison, compare_exports
from medseg.inference.model_folder import Model, count_inputs, load_networks
from medseg.inference.sliding_window import Forward
from medseg.inference.stages import list_stages

Kind = Literal["onnx", "openvino"]

ENDINGS: dict[Kind, str] = {"onnx": ".onnx", "openvino": ".xml"}
WRITERS: dict[Kind, Callable[[nn.Module, Configuration, int, Path], None]] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
}
OPENERS: dict[Kind, Callable[[Path, Configuration], Forward]] = {"onnx": open_onnx, "openvino": open_openvino}


def export_networks(model: Model, output: Path, kind: Kind) -> None:
    """Write every network of a model as a file of another library, and the plan beside them.

    Args:
        model: an opened model.
        output: the folder; the networks become ``CONFIGURATION/fold_F.onnx``, or ``.xml`` with ``.bin``; ``plan.json``
            says how scans are prepared and what the outputs mean.
        kind: for which library.
    Raises:
        MissingExtraError: the library is not installed.
        ModelError: the weights cannot be read, or a network has a layer that the library does not know.
        OSError: the disk is full or the folder cannot be written.
    """
    for stage in list_stages(model):
        configuration = model.plan.configuration(stage.configuration)
        for fold in stage.folds:
            network = load_networks(model, stage, (fold,), torch.device("cpu"))[0]
            path = _name_file(output, stage, fold, kind)
            WRITERS[kind](network, configuration, count_inputs(model.plan, stage), path)
    model.plan.write(output / "plan.json")


def compare_networks(model: Model, output: Path, kind: Kind) -> Iterator[Comparison]:
    """Compare what ``export_networks`` wrote with the model.

    Args:
        model, output, kind: as for ``export_networks``.
    Yields:
        a comparison per network and patch, both computed in float32 on the CPU.
    Raises:
        ModelError: an exported file cannot be read.
    """

    def open_export(stage: Member, fold: int | str) -> tuple[Path, Forward]:
        path = _name_file(output, stage, fold, kind)
        return path, OPENERS[kind](path, model.plan.configuration(stage.configuration))

    return compare_exports(model, output, open_export)


def explain_networks(model: Model, kind: Kind) -> list[str]:
    """Why masks made with the exported networks may differ, a sentence per reason; never empty.

    Args:
        model: the model.
        kind: for which library.
    Returns:
        what the files leave to whoever runs them.
    """
    notes = [
        "Only the networks are exported. Preparing scans, windows, averaging and the way back to the scan's grid are "
        "described by plan.json, and done by medseg predict.",
        "Sums are made in another order than by PyTorch: labels may differ where two are all but equally likely.",
    ]
    if model.record.mirror_axes:
        axes = ", ".join(map(str, model.record.mirror_axes))
        notes.append(f"medseg averages over copies mirrored along the patch's axes {axes}; a file sees one copy.")
    if sum(len(member.folds) for member in model.record.members) > 1:
        notes.append("medseg averages over all folds; each file is one of them.")
    if kind == "openvino":
        notes.append("OpenVINO computes in bfloat16 where the processor can, unless INFERENCE_PRECISION_HINT is f32.")
    return notes


def _name_file(output: Path, stage: Member, fold: int | str, kind: Kind) -> Path:
    return output / stage.configuration / f"fold_{fold}{ENDINGS[kind]}"
