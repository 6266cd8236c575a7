"""nnU-Net on one data set within a wall-clock limit; started by accuracy.py in nnU-Net's own Python.

Fingerprint, planning and preprocessing are nnU-Net's, with two processes. Its trainer is changed in one thing: the
polynomial decay of the learning rate follows the clock, from the first step to the deadline, in place of 1000 epochs
of 250 steps. With --recipe, a plan.json of medseg, patch, batch, network, optimiser, learning rate and weight decay
are those of that plan; augmentation, sampling, loss and all else stay nnU-Net's. The validation cases of fold 0 are
predicted from the preprocessed files by nnU-Net's predictor with mirroring and a step of 0.5, as its own validation
does it, but in this process, which saves starting two workers, and after the time.

Usage: python nnunet_training.py --root ROOT --began EPOCH_SECONDS --seconds 900 [--recipe plan.json] --output FILE
ROOT is made by nnunet_folders.py; the masks go to ROOT/masks, the times and the number of steps to FILE, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from nnunet_folders import DATASET_ID, DATASET_NAME
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CONFIGURATION = "3d_fullres"
PROCESSES = 2
STEPS_PER_EPOCH, VALIDATION_STEPS = 50, 4  # as medseg's cpu preset has it
EXPONENT = 0.9  # of nnU-Net's decay
WARM_UP_STEPS = 20  # as medseg begins with AdamW
SHORTEST_TRAINING_S = 5.0  # where the time is too short for anything, as medseg refuses it


class DeadlineTrainer(nnUNetTrainer):
    """nnU-Net's trainer, which stops at a time and whose learning rate reaches zero there."""

    stop_at = 0.0
    began = 0.0
    steps = 0
    step_seconds = 0.0
    recipe: dict | None = None  # the ``training`` part of medseg's configuration

    def configure_optimizers(self):
        """nnU-Net's optimiser, or the recipe's; the scheduler is nnU-Net's, its rate is set anew at each step."""
        if self.recipe is None:
            return super().configure_optimizers()
        _, scheduler = super().configure_optimizers()
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay, foreach=True
        )
        scheduler.optimizer = optimiser
        return optimiser, scheduler

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step at the rate that the clock says."""
        started = time.time()
        share = min(1.0, (started - self.began) / (self.stop_at - self.began))
        ramp = min(1.0, (self.steps + 1) / WARM_UP_STEPS) if self.recipe else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * (1 - share) ** EXPONENT * ramp
        result = super().train_step(batch)
        self.steps += 1
        self.step_seconds = time.time() - started
        return result

    def has_time(self) -> bool:
        """Whether another step ends before the deadline."""
        return time.time() + self.step_seconds < self.stop_at

    def run_training(self) -> None:
        """nnU-Net's loop over epochs, ended by the clock."""
        self.on_train_start()
        self.began = time.time()
        self.stop_at = max(self.stop_at, self.began + SHORTEST_TRAINING_S)
        print(f"{self.stop_at - self.began:.0f} s for training")
        while self.has_time():
            self.on_epoch_start()
            self.on_train_epoch_start()
            losses = []
            for _ in range(self.num_iterations_per_epoch):
                losses.append(self.train_step(next(self.dataloader_train)))
                if not self.has_time():
                    break
            self.on_train_epoch_end(losses)
            if not self.has_time():
                break
            with torch.no_grad():
                self.on_validation_epoch_start()
                overlaps = [self.validation_step(next(self.dataloader_val)) for _ in range(VALIDATION_STEPS)]
                self.on_validation_epoch_end(overlaps)
            self.on_epoch_end()
        self.on_train_end()

    def predict_cases(self, cases: list[str], target: Path) -> None:
        """Predict prepared cases as nnU-Net's validation does, and write the masks into ``target``."""
        target.mkdir(parents=True, exist_ok=True)
        self.set_deep_supervision_enabled(False)
        predictor = nnUNetPredictor(
            tile_step_size=0.5, use_gaussian=True, use_mirroring=True, device=self.device, allow_tqdm=False
        )
        predictor.manual_initialization(
            self.network, self.plans_manager, self.configuration_manager, None, self.dataset_json,
            type(self).__name__, self.inference_allowed_mirroring_axes,
        )  # fmt: skip
        dataset = self.dataset_class(self.preprocessed_dataset_folder, list(cases))
        for case in cases:
            data, _, _, properties = dataset.load_case(case)
            logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(np.ascontiguousarray(data[:])))
            export_prediction_from_logits(
                logits, properties, self.configuration_manager, self.plans_manager, self.dataset_json,
                str(target / case), False,
            )  # fmt: skip


def prepare(root: Path, recipe: dict | None) -> dict:
    """Fingerprint, plan and preprocess; returns the plans, with the recipe's network where there is one."""
    extract_fingerprints([DATASET_ID], num_processes=PROCESSES, verbose=False, show_progress_bar=False)
    plan_experiments([DATASET_ID])
    folder = root / "preprocessed" / DATASET_NAME
    plans, name = json.loads((folder / "nnUNetPlans.json").read_text("utf-8")), "nnUNetPlans"
    if recipe is not None:
        plans, name = write_recipe(plans, recipe), "medsegPlans"
        (folder / f"{name}.json").write_text(json.dumps(plans, indent=1), "utf-8")
    preprocess([DATASET_ID], name, configurations=[CONFIGURATION], num_processes=[PROCESSES], show_progress_bar=False)
    return plans


def write_recipe(plans: dict, recipe: dict) -> dict:
    """nnU-Net's plans with the spacing, patch, batch and network of medseg's plan."""
    ours = recipe["configurations"][CONFIGURATION]
    network = ours["network"]
    if network["name"] != "plain_unet":
        raise SystemExit(f"the recipe's network is {network['name']}, which this comparison does not translate")
    # nnU-Net's arrays are (k, j, i), medseg's axes are numbered (i, j, k).
    forward = [2 - axis for axis in recipe["axis_order"]]
    theirs = plans["configurations"][CONFIGURATION]
    theirs.update(
        data_identifier=f"medsegPlans_{CONFIGURATION}",
        spacing=ours["spacing_mm"],
        patch_size=ours["patch_size"],
        batch_size=ours["batch_size"],
        batch_dice=ours["batch_dice"],
    )
    theirs["architecture"]["arch_kwargs"].update(
        n_stages=len(network["features"]),
        features_per_stage=network["features"],
        strides=network["strides"],
        kernel_sizes=network["kernels"],
        n_conv_per_stage=network["convolutions"],
        n_conv_per_stage_decoder=network["decoder_convolutions"][::-1],  # nnU-Net counts from the coarsest
    )
    backward = np.argsort(forward).tolist()
    return {**plans, "plans_name": "medsegPlans", "transpose_forward": forward, "transpose_backward": backward}


def make_trainer(root: Path, plans: dict, recipe: dict | None) -> DeadlineTrainer:
    """The trainer of fold 0 on the CPU."""
    dataset_json = json.loads((root / "raw" / DATASET_NAME / "dataset.json").read_text("utf-8"))
    trainer = DeadlineTrainer(
        {**plans, "continue_training": False}, CONFIGURATION, 0, dataset_json, torch.device("cpu")
    )
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = STEPS_PER_EPOCH, VALIDATION_STEPS
    # Epochs are five times shorter than nnU-Net's; a figure and a checkpoint after each would only cost it time.
    trainer.disable_checkpointing = True
    trainer.logger.plot_progress_png = lambda folder: None
    if recipe is not None:
        training = recipe["configurations"][CONFIGURATION]["training"]
        if training["optimiser"] != "adamw":
            raise SystemExit(f"the recipe's optimiser is {training['optimiser']}, not adamw")
        trainer.recipe = training
        trainer.initial_lr, trainer.weight_decay = training["learning_rate"], training["weight_decay"]
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--began", type=float, required=True, help="when the clock started, seconds since 1970")
    parser.add_argument("--seconds", type=float, required=True, help="wall-clock from there to the end of training")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else PROCESSES)
    recipe = json.loads(options.recipe.read_text("utf-8")) if options.recipe else None
    marks = {"import": time.time()}
    plans = prepare(options.root, recipe)
    marks["prepare"] = time.time()
    # Augmented in this process: a batch takes 0.06 CPU-seconds, a step 1.6, and a third busy process would hold up the
    # two threads that share each convolution. Not earlier, since nnU-Net's planner fails with 0.
    os.environ.update(nnUNet_n_proc_DA="0")
    trainer = make_trainer(options.root, plans, recipe)
    trainer.stop_at = options.began + options.seconds
    trainer.run_training()
    marks["train"] = time.time()
    trainer.predict_cases(trainer.do_split()[1], options.root / "masks")
    marks["predict"] = time.time()
    last, seconds = options.began, {}
    for name, moment in marks.items():
        seconds[name], last = round(moment - last, 1), moment
    configuration = plans["configurations"][CONFIGURATION]
    facts = {"steps": trainer.steps, "batch_size": configuration["batch_size"], "patch": configuration["patch_size"]}
    features = configuration["architecture"]["arch_kwargs"]["features_per_stage"]
    content = {**facts, "features": features, "seconds": seconds, "torch": torch.__version__}
    options.output.write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
