"""Trainings in processes of their own, to be killed."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from medseg.core.plan import Configuration, NetworkPlan
from medseg.networks.unet import build_plain_unet
from medseg.preprocessing import open_prepared
from medseg.training import load_checkpoint, stopping, train_fold, trainer
from medseg.training.distributed import agreement
from medseg.training.losses import soft_dice_loss
from tests.training.examples import make_plan


class Wandering(torch.nn.Module):
    """A network with dropout and batch statistics, whose state is more than its weights."""

    def __init__(self, plan: NetworkPlan, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm3d(inputs)
        self.drop = torch.nn.Dropout3d(0.2)
        self.unet = build_plain_unet(plan, inputs, outputs)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.drop(stage) for stage in self.unet(self.norm(x))]


# One bad step alone, and enough of them in a row to go back.
BAD_STEPS = {4, 13, 14, 15, 16, 22}


def capricious_loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A loss that is not finite in some steps; the trainer seeds each step by its number."""
    loss = soft_dice_loss(logits.softmax(1), targets, mask, batch_dice=True, skip_first=True)
    bad = logits.requires_grad and torch.initial_seed() % trainer.STEPS_PER_SEED in BAD_STEPS
    return loss * (float("nan") if bad else 1.0)


def endless_loss(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A loss that needs a minute for one step, as a large network on a CPU does."""
    if logits.requires_grad and torch.initial_seed() % trainer.STEPS_PER_SEED == 5:
        Path("within").touch()
        time.sleep(60)
    return soft_dice_loss(logits.softmax(1), targets, mask, batch_dice=True, skip_first=True)


# What a training imports, and what takes a second of each child's time else.
PRELOADED = ["tests.training.children", "torch._dynamo", "numba", "tensorboard.summary.writer.event_file_writer"]


def train(folder: Path, configuration: Configuration, run: str, options: dict[str, Any]) -> None:
    """What a child does: train the cases of ``folder/prepared``, the last one for validation."""
    torch.set_num_threads(1)
    logging.basicConfig(filename=folder / f"{run}.messages", level=logging.INFO)
    os.chdir(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line does
    trainer.CHECKPOINT_SECONDS = 0.0
    agreement.LONGEST_UNSAVED_SECONDS = options.pop("unsaved_s", 0.0)
    stopping.PATIENCE_SECONDS = 1.0
    cases = [open_prepared(folder / "prepared", f"case{number}") for number in range(3)]
    try:
        train_fold(
            make_plan(configuration), configuration, cases[:2], cases[2:], folder / run, device="cpu",
            network=Wandering, **options,
        )  # fmt: skip
    except KeyboardInterrupt:
        sys.exit(130)


def start_training(folder: Path, configuration: Configuration, run: str, **options: Any) -> Any:
    """A started process, forked from one that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=train, args=(folder, configuration, run, options))
    process.start()
    return process


def read_result(run: Path) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """What a training ended with: hash of all tensors, the log and the progress, without times."""
    checkpoint = load_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    digest = hashlib.sha256()
    for name, tensor in sorted(checkpoint.tensors.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    log = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    for record in log:
        record.pop("seconds_left")
    progress = {
        k: v for k, v in checkpoint.facts["progress"].items() if k not in ("history", "used_s", "seconds_per_step")
    }
    return digest.hexdigest(), log, progress
