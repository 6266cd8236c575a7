"""CPU-seconds of medseg's training steps; started by step_speed.py.

``train_fold`` as `medseg train` calls it, on the prepared cases of a workspace: loader, augmentation and step. The
time is taken between the ends of two epochs; nothing is validated.

Usage: python medseg_steps.py --workspace W --steps 40 --warm-up 10 --threads 1 [--precision float32]
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from cpu_clock import read_cpu

from medseg.compute.devices import choose_precision
from medseg.core.plan import Configuration, Plan
from medseg.core.workspace import Workspace, read_plan
from medseg.preprocessing import open_prepared
from medseg.training import EpochRecord, train_fold

CONFIGURATION = "3d_fullres"


def clock_steps(space: Workspace, folder: Path, precision: str, warm_up: int, steps: int) -> dict:
    """CPU-seconds of the steps after the warm-up, which must divide them."""
    plan = read_plan(space)
    configuration = _change_training(plan, iterations_per_epoch=warm_up, precision=precision)
    folds = json.loads(space.folds.read_text("utf-8"))
    prepared = space.root / "prepared" / CONFIGURATION
    cases = [open_prepared(prepared, case) for case in folds[0]["train"]]
    moments: dict[int, float] = {}

    def note(record: EpochRecord) -> None:
        moments[record.steps] = read_cpu()

    # One epoch more, so that the last checkpoint lies beyond what is timed.
    train_fold(
        plan, configuration, cases, [], folder, epochs=2 + steps // warm_up, device="cpu", callbacks=[note]
    )  # fmt: skip
    cpu_s = moments[warm_up + steps] - moments[warm_up]
    used = str(choose_precision(precision, torch.device("cpu"))).removeprefix("torch.")
    return {"steps": steps, "cpu_s": cpu_s, "precision": used, "torch": torch.__version__}


def _change_training(plan: Plan, **settings: object) -> Configuration:
    configuration = plan.configuration(CONFIGURATION)
    training = configuration.training.model_copy(update=settings)
    return configuration.model_copy(update={"training": training})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="medseg_steps_") as folder:
        space, run = Workspace(options.workspace), Path(folder)
        print(json.dumps(clock_steps(space, run, options.precision, options.warm_up, options.steps)))


if __name__ == "__main__":
    main()
