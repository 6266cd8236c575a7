"""Weights, checkpoints and model records, cut short and with bits flipped: refused, or the same to the last bit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medseg.core.errors import MedsegError
from medseg.inference import open_model
from medseg.inference.model_folder import load_networks
from medseg.training import load_checkpoint
from medseg.training.checkpoint import Checkpoint, save_checkpoint
from tests.corpus.damage import cut_files, flip_bits, pick_places, silence
from tests.inference.examples import write_model

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Hashed:
    """A file that is damaged, and the folder that is read.

    Args:
        file: within the folder.
        read: what the folder holds; raises where it is refused.
        fallback: what else may be found: the version before; None where there is none.
    """

    file: str
    read: Read
    fallback: Any = None


def hash_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """The SHA-256 of tensors with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_checkpoint(folder: Path) -> Any:
    checkpoint = load_checkpoint(folder)
    if checkpoint is None:
        return None
    return hash_tensors(checkpoint.tensors), {k: v for k, v in checkpoint.facts.items() if k != "sha256"}


def _read_model(folder: Path) -> Any:
    model = open_model(folder)
    (member,) = model.record.members
    networks = load_networks(model, member, member.folds, torch.device("cpu"))
    # The hash of the record is no part of what it says.
    record = model.record.model_dump(exclude={"sha256"})
    return record, model.plan.model_dump(), [hash_tensors(dict(network.state_dict())) for network in networks]


def make_folders(folder: Path) -> dict[str, tuple[Path, Hashed]]:
    """A model, and a run's checkpoints, of which the newest is damaged; by what is damaged."""
    write_model(folder / "model", folds=(0,))
    run = folder / "checkpoints"
    generator = torch.Generator().manual_seed(0)
    for epoch in (1, 2):
        tensors = {f"network.{n}": torch.randn(4, 5, generator=generator) for n in range(3)}
        facts = {"progress": {"step": 10 * epoch, "history": [{"loss": 0.125 * epoch}]}, "identity": {"a": "b"}}
        save_checkpoint(run, Checkpoint(tensors, facts), epoch)
        if epoch == 1:
            before = _read_checkpoint(run)
    return {
        "weights": (folder / "model", Hashed("weights/3d_fullres/fold_0.safetensors", _read_model)),
        "model_record": (folder / "model", Hashed("model.json", _read_model)),
        "plan": (folder / "model", Hashed("plan.json", _read_model)),
        "checkpoint": (run, Hashed("00002/state.safetensors", _read_checkpoint, before)),
        "checkpoint_record": (run, Hashed("00002/state.json", _read_checkpoint, before)),
    }


def judge(folder: Path, kind: Hashed, damaged: Iterable[tuple[str, bytes]]) -> tuple[Counter[str], list[str]]:
    """What becomes of each damaged file: ``refused`` (or the version before is taken), ``same``, ``changed``.

    Args:
        folder: with the sound file.
        kind: what is damaged and how it is read.
        damaged: what was done, and the bytes.
    Returns:
        how many of each, and what was done to those that changed.
    """
    counts: Counter[str] = Counter()
    changed = []
    path = folder / kind.file
    sound, whole = path.read_bytes(), kind.read(folder)
    with silence():
        for name, content in damaged:
            path.write_bytes(content)
            try:
                found = kind.read(folder)
            except MedsegError:
                counts["refused"] += 1
                continue
            fell_back = kind.fallback is not None and found == kind.fallback
            counts["refused" if fell_back else "same" if found == whole else "changed"] += 1
            changed += [] if fell_back or found == whole else [f"{kind.file}: {name}"]
    path.write_bytes(sound)
    assert kind.read(folder) == whole
    return counts, changed


def judge_damage(folder: Path, kind: Hashed, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """A file cut at so many places and with one bit flipped at so many."""
    content = (folder / kind.file).read_bytes()
    places = pick_places(len(content), count, seed), pick_places(len(content), count, seed + 1)
    cut, cut_changed = judge(folder, kind, cut_files(content, places[0]))
    flipped, flipped_changed = judge(folder, kind, flip_bits(content, places[1], seed))
    return cut + flipped, cut_changed + flipped_changed
