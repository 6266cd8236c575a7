"""Checkpoints: everything training needs to go on exactly, as plain tensors and JSON."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medseg.compute.tensor_files import read_tensors, write_tensors
from medseg.core.errors import FormatError, ModelError
from medseg.core.records import hash_json, read_json, write_json

logger = logging.getLogger(__name__)

KEPT = 3  # a damaged newest checkpoint leaves two to fall back on
STATE, RECORD = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        tensors: ``network.*``, ``average.*`` and ``optimiser.INDEX.NAME``.
        facts: step, total steps, best score, identity of the run; whatever JSON holds.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


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
    digest = write_tensors(target / STATE, checkpoint.tensors)
    write_json(target / RECORD, seal({**checkpoint.facts, "epoch": epoch, "files": {STATE: digest}}))
    prune(folder)


def prune(folder: Path) -> None:
    """Remove all checkpoints but the newest three, and what was never finished."""
    finished = list_checkpoints(folder)
    old = finished[:-KEPT]
    unfinished = [path for path in folder.glob("*") if path.is_dir() and path not in finished]
    for path in (*old, *unfinished):
        (path / RECORD).unlink(missing_ok=True)  # without it a checkpoint does not exist
        shutil.rmtree(path, ignore_errors=True)


def seal(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with the SHA-256 of all of them, so that no number is changed unseen."""
    return {**facts, "sha256": _hash_facts(facts)}


def _hash_facts(facts: Mapping[str, Any]) -> str:
    return hash_json({key: value for key, value in facts.items() if key != "sha256"})


def list_checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path.parent for path in folder.glob(f"*/{RECORD}"))


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole.

    Args:
        folder: ``runs/C/fold_F/checkpoints``.
    Returns:
        the checkpoint, or None where there is none; a damaged newer one is passed over with a warning.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            facts = read_json(path / RECORD)
            if facts["sha256"] != _hash_facts(facts):
                raise FormatError("its content does not match its hash", file=path / RECORD)
            return Checkpoint(read_tensors(path / STATE, facts["files"][STATE]), facts)
        except (FormatError, KeyError, TypeError, AttributeError, OSError) as error:
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
