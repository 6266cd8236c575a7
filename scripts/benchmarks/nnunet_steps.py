"""CPU-seconds of nnU-Net's training steps; started by step_speed.py in nnU-Net's own Python.

Its own trainer's ``train_step`` on batches of its own loader, augmented by its own transforms in this process
(nnUNet_n_proc_DA=0), with medseg's network, patch, batch and optimiser written into its plans and trainer.

Usage: python nnunet_steps.py --root ROOT --recipe plan.json --prepare
       python nnunet_steps.py --root ROOT --recipe plan.json --steps 40 --warm-up 10 --threads 1
ROOT is made by nnunet_folders.py. The first prepares the data set once; the second's last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from cpu_clock import read_cpu
from nnunet_folders import DATASET_NAME
from nnunet_training import make_trainer, prepare

LONG_S = 1e7  # so far off that the learning rate stays what it is


def clock_steps(root: Path, recipe: dict, warm_up: int, steps: int) -> dict:
    """CPU-seconds of the steps after the warm-up."""
    plans = json.loads((root / "preprocessed" / DATASET_NAME / "medsegPlans.json").read_text("utf-8"))
    os.environ.update(nnUNet_n_proc_DA="0")
    trainer = make_trainer(root, plans, recipe)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    trainer.began, trainer.stop_at = time.time(), time.time() + LONG_S
    for _ in range(warm_up):
        trainer.train_step(next(trainer.dataloader_train))
    began = read_cpu()
    for _ in range(steps):
        trainer.train_step(next(trainer.dataloader_train))
    cpu_s = read_cpu() - began
    return {"steps": steps, "cpu_s": cpu_s, "precision": "float32", "torch": torch.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    recipe = json.loads(options.recipe.read_text("utf-8"))
    if options.prepare:
        prepare(options.root, recipe)
        return
    torch.set_num_threads(options.threads)
    print(json.dumps(clock_steps(options.root, recipe, options.warm_up, options.steps)))


if __name__ == "__main__":
    main()
