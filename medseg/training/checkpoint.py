"""Checkpoints: everything training needs to go on exactly, as plain tensors and JSON."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medseg.core import atomic
from medseg.core.errors import FormatError, ModelError
from medseg.core.manifest import hash_file
from medseg.core.records import read_json, write_json

logger = logging.getLogger(__name__)

KEPT = 3  # a damaged newest checkpoint leaves two to fall back on


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        tensors: ``network.*``, ``average.*`` and ``optimiser.INDEX.NAME``.
        facts: step, total steps, best score, identity of the run; whatever JSON holds.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors, whole or not at all; returns the file's SHA-256."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic.atomic_path(path) as temporary:
        save_file(plain, temporary)
    return hash_file(path)


def name_checkpoint(epoch: int, steps: int = 0) -> str:
    """The folder's name of a checkpoint ``steps`` steps after the end of an epoch; names sort as time does."""
    return f"{epoch:05d}-{steps:08d}" if steps else f"{epoch:05d}"


def find_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor that holds NaN or infinity; None where all are finite."""
    return next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, epoch: int, steps: int = 0) -> None:
    """Write ``folder/EPOCH/``, its JSON with the hash last, and drop all but the newest three.

    Args:
        folder: ``runs/C/fold_F/checkpoints``.
        checkpoint: what is written.
        epoch: how many are complete.
        steps: of the next one, where it was written in the middle: ``folder/EPOCH-STEPS/``.
    Raises:
        ModelError: a tensor is not finite; such a state is never written.
    """
    bad = find_not_finite(checkpoint.tensors)
    if bad is not None:
        raise ModelError(f"{bad} holds numbers that are not finite; the checkpoint is not written")
    target = folder / name_checkpoint(epoch, steps)
    digest = save_tensors(target / "state.safetensors", checkpoint.tensors)
    write_json(target / "state.json", {**checkpoint.facts, "epoch": epoch, "files": {"state.safetensors": digest}})
    for old in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob("*/state.json"))


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole.

    Args:
        folder: ``runs/C/fold_F/checkpoints``.
    Returns:
        the checkpoint, or None where there is none; a damaged newer one is passed over with a warning.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            facts = read_json(path / "state.json")
            if hash_file(path / "state.safetensors") != facts["files"]["state.safetensors"]:
                raise FormatError("its content does not match its hash", file=path / "state.safetensors")
            return Checkpoint(load_file(path / "state.safetensors"), facts)
        except (FormatError, KeyError, TypeError, OSError, SafetensorError) as error:
            logger.warning("checkpoint %s is damaged (%s); the one before is used", path, error)
    return None


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's tensors by parameter index and name."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put copies of packed tensors back into an optimiser of the same parameters.

    Args:
        optimiser: changed in place; its state is laid out in memory as its parameters are, which fused kernels need.
        tensors: from ``pack_optimiser``; others are passed over.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            like = parameters[int(index)]
            own = torch.empty_like(like, dtype=tensor.dtype) if tensor.shape == like.shape else torch.empty_like(tensor)
            state.setdefault(int(index), {})[name] = own.copy_(tensor)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
