"""A fold's weights as ``checkpoint_final.pth``, as nnU-Net 2.8.1's trainer leaves it and its predictor reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medseg.core import atomic
from medseg.core.errors import ModelError
from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration
from medseg.inference.nnunet.export_labels import arrange_heads
from medseg.inference.nnunet.weights import pair_names

TRAINER = "nnUNetTrainer"
CHECKPOINT = "checkpoint_final.pth"
HEAD = "decoder.seg_layers."
# nnU-Net's blocks hold their convolution and norm a second time, in a list of what they run.
LISTED = re.compile(r"\.(conv|norm)\.(\w+)$")
PLACE_IN_LIST = {"conv": 0, "norm": 1}


def translate_back(
    weights: Mapping[str, Tensor], configuration: Configuration, labels: LabelScheme
) -> dict[str, Tensor]:
    """A network's state as nnU-Net's network has it.

    Args:
        weights: our network's state, name to tensor.
        configuration: whose network it is.
        labels: what the outputs stand for.
    Returns:
        nnU-Net's names to tensors, with every name that its strict loading asks for; names of one tensor share it.
    Raises:
        ModelError: the weights are not those of the plan's network.
    """
    names = pair_names(configuration.network)
    if set(names) != set(weights):
        odd = sorted(set(names) ^ set(weights))
        raise ModelError(f"the weights do not fit the plan's network: {odd[0]}", code="bad_weights")
    state: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        theirs = names[name]
        arranged = arrange_heads(tensor, labels) if theirs.startswith(HEAD) else tensor
        state |= dict.fromkeys(list_aliases(theirs), arranged)
    return state


def list_aliases(name: str) -> list[str]:
    """Every name under which nnU-Net's network holds a tensor, ``name`` first; the decoder holds the encoder too."""
    listed = LISTED.sub(lambda found: f".all_modules.{PLACE_IN_LIST[found[1]]}.{found[2]}", name)
    names = [name] if listed == name else [name, listed]
    return names + [f"decoder.{known}" for known in names if known.startswith("encoder.")]


def mirrored_axes(configuration: Configuration, axes: Iterable[int]) -> tuple[int, ...] | None:
    """The axes that nnU-Net's predictor flips.

    Args:
        configuration: of the network.
        axes: of our patch, the first one 1 voxel thick in 2D.
    Returns:
        the axes of nnU-Net's patch; None where there is none, since nnU-Net cannot read an empty list.
    """
    kept = [axis - (3 - configuration.dimensions) for axis in axes if configuration.patch_size[axis] > 1]
    return tuple(kept) or None


def write_checkpoint(
    path: Path,
    state: Mapping[str, Tensor],
    *,
    configuration: Configuration,
    fold: int | str,
    axes: tuple[int, ...] | None,
    plans: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
) -> None:
    """Write a fold's checkpoint, whole or not at all.

    Args:
        path: the file.
        state: nnU-Net's names to tensors.
        configuration: of the network.
        fold: its number, or ``all``.
        axes: that prediction may flip, as nnU-Net counts them.
        plans, dataset_json: what stands in those files.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    content = {
        "network_weights": dict(state),
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": configuration.training.epochs,
        "init_args": {
            "plans": dict(plans),
            "configuration": configuration.name,
            "fold": fold,
            "dataset_json": dict(dataset_json),
        },
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": axes,
    }
    with atomic.atomic_open(path) as stream:  # PyTorch's own files do not say that a disk is full
        torch.save(content, stream)
