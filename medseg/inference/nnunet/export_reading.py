"""Exported checkpoints read back, to compare them with the networks that they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from medseg.core.model import Member
from medseg.inference.engines import as_forward
from medseg.inference.exports import Comparison, compare_exports
from medseg.inference.model_folder import Model, count_inputs
from medseg.inference.nnunet.checkpoint import open_checkpoint
from medseg.inference.nnunet.export import name_folder
from medseg.inference.nnunet.export_checkpoint import CHECKPOINT
from medseg.inference.nnunet.export_labels import has_two_heads, restore_channels
from medseg.inference.nnunet.weights import translate_weights
from medseg.inference.sliding_window import Forward
from medseg.networks import build_network


def compare_checkpoints(model: Model, output: Path) -> Iterator[Comparison]:
    """Compare what ``export_nnunet`` wrote with the model.

    Args:
        model, output: as for ``export_nnunet``.
    Yields:
        a comparison per network and patch. The checkpoints are read as the importer reads nnU-Net's own, and nnU-Net's
        channels are put back into our order.
    Raises:
        ModelError: a checkpoint cannot be read or does not fit the plan.
    """
    return compare_exports(model, output, lambda stage, fold: _open_checkpoint(model, output, stage, fold))


def _open_checkpoint(model: Model, output: Path, stage: Member, fold: int | str) -> tuple[Path, Forward]:
    path = output / name_folder(stage.configuration) / f"fold_{fold}" / CHECKPOINT
    labels, configuration = model.plan.labels, model.plan.configuration(stage.configuration)
    inputs, outputs = count_inputs(model.plan, stage), 2 if has_two_heads(labels) else labels.channel_count
    network = build_network(configuration, inputs, outputs)
    weights = open_checkpoint(path).weights
    network.load_state_dict(translate_weights(configuration.network, inputs, outputs, weights))
    theirs = as_forward(network.to(torch.device("cpu")), configuration.dimensions)

    def forward(windows: Tensor) -> Tensor:
        return restore_channels(theirs(windows), labels)

    return path, forward
