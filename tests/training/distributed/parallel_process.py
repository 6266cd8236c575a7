"""What each of several processes does for the tests of parallel training.

``launch`` starts them; ``python -m tests.training.distributed.parallel_process FOLDER TASK ...`` is one of them, and
writes what it found in each task to ``FOLDER/TASK.RANK.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration
from medseg.core.records import write_json
from medseg.preprocessing import open_prepared
from medseg.training import train_fold
from medseg.training.distributed.gradient_sum import GradientSum
from medseg.training.distributed.heartbeat import watch_ranks
from medseg.training.distributed.parallel import Ranks, find_ranks
from medseg.training.distributed.shared_norm import share_batch_norms
from medseg.training.job import TrainedFold
from tests.training.examples import NETWORK_3D, make_configuration, make_plan

ROOT = Path(__file__).parents[3]


def launch(folder: Path, *tasks: str) -> subprocess.Popen[str]:
    """Start two processes through torchrun that do tasks one after the other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.distributed.parallel_process", str(folder), *tasks]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes: subprocess.Popen[str], seconds: float = 200.0) -> tuple[int, str]:
    """The exit code and the errors of what ``launch`` started; raises TimeoutExpired where it does not end."""
    try:
        errors = processes.communicate(timeout=seconds)[1]
    finally:
        processes.kill()
    return processes.returncode, errors


def read_found(folder: Path, task: str) -> list[Any]:
    """What each process found in a task."""
    return [json.loads((folder / f"{task}.{rank}.json").read_text("utf-8")) for rank in range(2)]


def make_layers(norm: bool) -> nn.Module:
    """A small network, the same for each seed; the last layer's weight has no part in ``compute``."""
    torch.manual_seed(4)
    layers: list[nn.Module] = [nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5) if norm else nn.Identity(), nn.Conv2d(5, 3, 3)]
    return nn.ModuleList([*layers, nn.Linear(3, 3)])


def compute(layers: nn.Module, x: Tensor, add: Callable[[Tensor], Tensor]) -> Tensor:
    """A loss that is no mean over samples: the quotient of two sums over the whole batch, and a mean."""
    modules = list(layers.children())
    for layer in modules[:3]:
        x = layer(x)
    return add(x.square().sum()) / (add(x.sigmoid().sum()) + 1) + x.sin().mean()


def make_batch(samples: int = 5) -> Tensor:
    return torch.randn(samples, 2, 7, 6, generator=torch.Generator().manual_seed(9))


def describe(layers: nn.Module, loss: Tensor) -> dict[str, Any]:
    """Loss, gradients and running statistics as JSON."""
    gradients = {name: p.grad.tolist() for name, p in layers.named_parameters() if p.grad is not None}
    return {"loss": float(loss), "gradients": gradients, "buffers": {k: v.tolist() for k, v in layers.named_buffers()}}


def add_up(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Sums, agreements, shares, and the gradients of two batches in one step."""
    one = torch.tensor([1.0 + ranks.rank, 2.0])
    found: dict[str, Any] = {
        "rank": ranks.rank,
        "count": ranks.count,
        "sum": ranks.add(one).tolist(),
        "untouched": one.tolist(),
        "largest": ranks.take_largest([ranks.rank, -ranks.rank, 7]),
        "gathered": ranks.gather({"rank": ranks.rank, "text": "ä" * (1 + 9 * ranks.rank)}),
        "share": list(ranks.take_share("abcde")),
        "device": ranks.place("cpu"),
    }
    found["same"] = find_ranks() is ranks
    with ranks.one_by_one():
        found["before"] = [path.name for path in folder.glob("was_here_*")]
        (folder / f"was_here_{ranks.rank}").touch()
    for norm in (False, True):
        layers = share_batch_norms(make_layers(norm), ranks)
        gradients = GradientSum(layers, ranks)
        total = torch.zeros(())
        for number in range(2):
            batch = make_batch() + number
            own = batch[ranks.rank :: ranks.count]
            loss = compute(layers, own, ranks.add_with_gradient) * len(own) / len(batch) / 2
            with gradients.adding(now=number == 1):
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        found[f"norm {norm}"] = describe(layers, ranks.add(total))
        layers.eval()
        found[f"output {norm}"] = float(compute(layers, make_batch(), lambda values: values).detach())
    return found


# How the same few steps are trained: by one process in the tests, by two here.
KINDS: dict[str, dict[str, Any]] = {
    "per sample": {"batch_size": 3},
    "batch dice": {"batch_size": 3, "batch_dice": True, "class_weights": (1.0, 3.0)},
    "batch norm": {"network": NETWORK_3D.model_copy(update={"norm": "batch"}), "batch_size": 4, "optimiser": "sgd"},
    "accumulation": {"dimensions": 2, "batch_size": 2, "accumulation": 3, "learning_rate": 0.001},
    "lesions": {"loss": "lesion_dice", "batch_size": 3, "sampling": "lesion"},
    "boundary": {"loss": "boundary", "batch_size": 3},
}


LONG = 60  # epochs


def make_configuration_of(kind: str) -> Configuration:
    """The configuration of a kind of training."""
    options = dict(KINDS[kind])
    batch_dice = options.pop("batch_dice", False)
    configuration = make_configuration(**options)
    return configuration.model_copy(update={"batch_dice": batch_dice or configuration.batch_dice})


def train_kind(kind: str, folder: Path, run: str, **options: Any) -> TrainedFold:
    """Train some steps of a kind on the cases in ``folder/KIND``, which must be prepared."""
    configuration = make_configuration_of(kind)
    cases = [open_prepared(folder / kind / "prepared", f"case{number}") for number in range(3)]
    plan = make_plan(configuration)
    options = {"epochs": 2, "device": "cpu", **options}
    return train_fold(plan, configuration, cases[:-1], cases[-1:], folder / kind / run, **options)


def train_kinds(ranks: Ranks, folder: Path) -> None:
    """Train each kind from the beginning, and the first one also from where one process stopped."""
    for kind in KINDS:
        train_kind(kind, folder, "two")
    train_kind(next(iter(KINDS)), folder, "stopped", epochs=3)
    setting = make_configuration(batch_size=1)
    cases = [open_prepared(folder / "per sample" / "prepared", "case0")]
    with pytest.raises(PlanError, match="2 processes share a batch of 1"):
        train_fold(make_plan(setting), setting, cases, [], folder / "small")


def fail_alone(ranks: Ranks, folder: Path) -> None:
    """One process fails in the middle of a step; the other one waits for it."""

    def fail(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        if logits.requires_grad and ranks.rank == 1:
            raise ValueError("this process alone")
        return logits.mean()

    train_kind("per sample", folder, "failed", loss=fail)


def train_long(ranks: Ranks, folder: Path) -> None:
    """Train until the processes are told to stop."""
    train_kind("per sample", folder, "told", epochs=LONG)


def listen_briefly(ranks: Ranks, folder: Path) -> None:
    """Wait for each other again and again, each counting as lost after two seconds."""
    watch_ranks(*next(iter(rendezvous("env://"))), silence_s=2.0, interval_s=0.2)
    write_json(folder / f"pid.{ranks.rank}", os.getpid())
    while True:
        ranks.gather(None)


TASKS: dict[str, Callable[[Ranks, Path], Any]] = {
    "add_up": add_up,
    "train_kinds": train_kinds,
    "fail_alone": fail_alone,
    "train_long": train_long,
    "listen_briefly": listen_briefly,
}


def main() -> None:
    """Do tasks as one of several processes."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    ranks = find_ranks("cpu")
    for task in sys.argv[2:]:
        found = TASKS[task](ranks, folder)
        (folder / f"{task}.{ranks.rank}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
