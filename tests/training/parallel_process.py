"""What each of several processes does for the tests of parallel training.

``launch`` starts them; ``python -m tests.training.parallel_process TASK FOLDER`` is one of them, and
writes what it found to ``FOLDER/RANK.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.training.gradient_sum import GradientSum
from medseg.training.parallel import Ranks, find_ranks
from medseg.training.shared_norm import share_batch_norms

ROOT = Path(__file__).parents[2]


def launch(task: str, folder: Path, *, ranks: int = 2, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a task in several processes through torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "tests.training.parallel_process", task, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)


def read_found(folder: Path, ranks: int = 2) -> list[Any]:
    """What each process wrote."""
    return [json.loads((folder / f"{rank}.json").read_text("utf-8")) for rank in range(ranks)]


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


TASKS: dict[str, Callable[[Ranks, Path], Any]] = {"add_up": add_up}


def main() -> None:
    """Do one task as one of several processes."""
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    ranks = find_ranks("cpu")
    found = TASKS[task](ranks, folder)
    (folder / f"{ranks.rank}.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
