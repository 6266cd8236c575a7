"""Small nnU-Net models with nnU-Net's own masks, trained in minutes on two cores; run it with nnU-Net's Python.

nnunet_recipes.py says which models. Scans are drawn (nnunet_phantoms.py); fingerprint, plans, preprocessing, training
and prediction are nnU-Net's, two models at a time, each in one process. Changed are the plans' networks and patches,
which are made small, and the trainer's optimiser and length: AdamW and a few dozen steps, so that masks hold every
label.

Usage: python scripts/benchmarks/nnunet_models.py --output FOLDER [--models slices,ct]
FOLDER/NAME/ gets raw/ and results/ as nnU-Net leaves them, masks/ (of raw/*/imagesTs, on the CPU, mirrored, with a step
of 0.5) and build.log; FOLDER/models.json, written last, says of each model where its folder, images and masks are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import random
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from itertools import repeat
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import torch
from nnunet_folders import make_environment
from nnunet_phantoms import write_raw_folder
from nnunet_recipes import FEATURES, RECIPES, Recipe
from PIL import Image

os.environ.update(nnUNet_def_n_proc="1")  # nnU-Net reads it when it is imported; more threads slow networks this small

import nnunetv2.inference.predict_from_raw_data
import nnunetv2.utilities.utils
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import (
    nnUNetTrainer_onlyMirror01,
    nnUNetTrainerNoMirroring,
)

FIRST_ID = 901
MODELS_AT_A_TIME = 2
POOL_THREADS = 2
BATCH_SIZE = 2
EPOCHS, STEPS_PER_EPOCH, VALIDATION_STEPS = 3, 20, 1
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 3e-5
LOWRES_FACTOR = 1.5  # how much coarser a cascade's first stage sees
TRAINERS = {
    trainer.__name__: trainer for trainer in (nnUNetTrainer, nnUNetTrainerNoMirroring, nnUNetTrainer_onlyMirror01)
}


def keep_in_process() -> None:
    """Spare nnU-Net what takes it seconds each time: processes that import torch anew, and the search for a trainer,
    which imports every network that it knows. To be called in the process that builds models."""
    torch.set_num_threads(1)
    multiprocessing.get_context = lambda method=None: SimpleNamespace(Pool=ThreadPool)
    nnunetv2.utilities.utils.Pool = ThreadPool
    nnunetv2.inference.predict_from_raw_data.recursive_find_trainer_class_by_name = TRAINERS.__getitem__


def build_model(recipe: Recipe, output: Path) -> tuple[dict[str, str], float]:
    """Draw scans, plan, train and predict; returns the model's entry of ``models.json`` and the seconds it took."""
    began = time.perf_counter()
    root = output / recipe.name
    shutil.rmtree(root, ignore_errors=True)
    dataset = f"Dataset{FIRST_ID + RECIPES.index(recipe)}_{recipe.name}"
    os.environ.update(make_environment(root))
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir(parents=True)
    raw = root / "raw" / dataset
    raw.mkdir()
    with (root / "build.log").open("w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        write_raw_folder(recipe, raw)
        plans_name = make_plans(recipe, root, dataset)
        folder = train_model(recipe, root, dataset, plans_name)
        predict_model(recipe, folder, raw / "imagesTs", root)
    check_masks(recipe, root / "masks")
    shutil.rmtree(root / "preprocessed")
    places = {"model": folder, "images": raw / "imagesTs", "masks": root / "masks"}
    entry = {key: path.relative_to(output).as_posix() for key, path in places.items()}
    return {"name": recipe.name, "ending": recipe.ending, **entry}, time.perf_counter() - began


def make_plans(recipe: Recipe, root: Path, dataset: str) -> str:
    """nnU-Net's fingerprint and plans, networks made small, and the prepared cases; returns the plans' name."""
    number = int(dataset[7:10])
    os.environ.update(nnUNet_n_proc_DA="1")  # nnU-Net's planner fails with 0
    extract_fingerprints([number], num_processes=POOL_THREADS, verbose=False, show_progress_bar=False)
    name = plan_experiments([number], "nnUNetPlannerResEncM" if recipe.residual else "ExperimentPlanner")
    path = root / "preprocessed" / dataset / f"{name}.json"
    path.write_text(json.dumps(edit_plans(json.loads(path.read_text("utf-8")), recipe), indent=1), "utf-8")
    configurations = ["3d_lowres", "3d_fullres"] if recipe.is_cascade else [recipe.configuration]
    preprocess([number], name, configurations=configurations, num_processes=[POOL_THREADS], show_progress_bar=False)
    return name


def edit_plans(plans: dict, recipe: Recipe) -> dict:
    """The plans with a small patch and network, with a cascade or in the old format where the recipe has it so."""
    name = "3d_fullres" if recipe.is_cascade else recipe.configuration
    configurations = deepcopy(plans["configurations"])
    shrink(configurations[name], recipe)
    if recipe.is_cascade:
        fullres = configurations["3d_fullres"]
        coarse = {
            "data_identifier": f"{plans['plans_name']}_3d_lowres",
            "spacing": [value * LOWRES_FACTOR for value in fullres["spacing"]],
            "batch_dice": False,
            "next_stage": "3d_cascade_fullres",
        }
        configurations["3d_lowres"] = {**deepcopy(fullres), **coarse}
        configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    if recipe.old_plans:
        configurations = {key: age(configuration) for key, configuration in configurations.items()}
    return {**plans, "configurations": configurations}


def shrink(configuration: dict, recipe: Recipe) -> None:
    configuration.update(patch_size=list(recipe.patch_size), batch_size=BATCH_SIZE)
    blocks = {"n_blocks_per_stage": [1, 2, 2]} if recipe.residual else {"n_conv_per_stage": [2, 2, 2]}
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=len(FEATURES),
        features_per_stage=list(FEATURES),
        strides=recipe.strides,
        kernel_sizes=recipe.kernels,
        n_conv_per_stage_decoder=[1, 1] if recipe.residual else [2, 2],
        **blocks,
    )


def age(configuration: dict) -> dict:
    """A configuration of plain networks as nnU-Net wrote it before it named architectures."""
    network = configuration["architecture"]["arch_kwargs"]
    pools = [
        sum(int(math.log2(stage[axis])) for stage in network["strides"]) for axis in range(len(network["strides"][0]))
    ]
    aged = {key: value for key, value in configuration.items() if key != "architecture"}
    return {
        **aged,
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": network["features_per_stage"][0],
        "unet_max_num_features": max(network["features_per_stage"]),
        "n_conv_per_stage_encoder": network["n_conv_per_stage"],
        "n_conv_per_stage_decoder": network["n_conv_per_stage_decoder"],
        "num_pool_per_axis": pools,
        "pool_op_kernel_sizes": network["strides"],
        "conv_kernel_sizes": network["kernel_sizes"],
    }


def train_model(recipe: Recipe, root: Path, dataset: str, plans_name: str) -> Path:
    """Train every network of the recipe; returns the trainer's folder, that of a cascade's second stage."""
    os.environ.update(nnUNet_n_proc_DA="0")  # augmented in this process
    plans = root / "preprocessed" / dataset / f"{plans_name}.json"
    dataset_json = json.loads((root / "raw" / dataset / "dataset.json").read_text("utf-8"))
    for fold in recipe.folds:
        if recipe.is_cascade:
            # Its validation writes the masks that the second stage is trained with.
            train_network(recipe, plans, dataset_json, "3d_lowres", fold).perform_actual_validation()
        trainer = train_network(recipe, plans, dataset_json, recipe.configuration, fold)
    return Path(trainer.output_folder_base)


def train_network(
    recipe: Recipe, plans: Path, dataset_json: dict, configuration: str, fold: int | str
) -> nnUNetTrainer:
    """Train one fold for a few steps with nnU-Net's own loop, which also writes the checkpoint."""
    seed = recipe.folds.index(fold)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    content = {**json.loads(plans.read_text("utf-8")), "continue_training": False}
    trainer = TRAINERS[recipe.trainer](content, configuration, fold, dataset_json, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = EPOCHS, STEPS_PER_EPOCH
    trainer.num_val_iterations_per_epoch = VALIDATION_STEPS
    trainer.initial_lr, trainer.weight_decay = LEARNING_RATE, WEIGHT_DECAY
    trainer.configure_optimizers = lambda: make_optimiser(trainer)
    trainer.logger.plot_progress_png = lambda folder: None  # a figure per epoch takes longer than the epoch
    trainer.run_training()
    return trainer


def make_optimiser(trainer: nnUNetTrainer) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
    """AdamW, which gets somewhere in a few dozen steps, with nnU-Net's own decay."""
    optimiser = torch.optim.AdamW(trainer.network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    return optimiser, PolyLRScheduler(optimiser, LEARNING_RATE, EPOCHS)


def predict_model(recipe: Recipe, folder: Path, images: Path, root: Path) -> None:
    """nnU-Net's masks of the test scans, in ``root/masks``; a cascade's first stage's in ``root/masks_lowres``."""
    previous = None
    if recipe.is_cascade:
        previous = root / "masks_lowres"
        predict(
            recipe, folder.with_name(folder.name.replace(recipe.configuration, "3d_lowres")), images, previous, None
        )
    predict(recipe, folder, images, root / "masks", previous)


def predict(recipe: Recipe, folder: Path, images: Path, target: Path, previous: Path | None) -> None:
    target.mkdir()
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), recipe.folds)
    names = sorted({path.name[: -len("_0000" + recipe.ending)] for path in images.glob(f"*{recipe.ending}")})
    cases = [[str(path) for path in sorted(images.glob(f"{name}_*{recipe.ending}"))] for name in names]
    predictor.predict_from_files_sequential(
        cases, str(target), folder_with_segs_from_prev_stage=None if previous is None else str(previous)
    )


def check_masks(recipe: Recipe, masks: Path) -> None:
    """End where the masks are too empty to compare anything: a label is in none of them, or one holds nothing."""
    found: set[int] = set()
    for path in sorted(masks.glob(f"*{recipe.ending}")):
        array = np.asarray(Image.open(path) if recipe.ending == ".png" else nibabel.load(path).dataobj)
        values = set(np.unique(array).tolist()) - {0}
        if not values:
            raise SystemExit(f"{path}: an empty mask; the network is not trained well enough")
        found |= values
    missing = set(range(1, recipe.structures + 1)) - found
    if missing:
        raise SystemExit(f"{masks}: no mask holds {missing}; the network is not trained well enough")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", help="some of them, separated by commas; all where not given")
    options = parser.parse_args()
    known = {recipe.name: recipe for recipe in RECIPES}
    wanted = options.models.split(",") if options.models else list(known)
    if not set(wanted) <= known.keys():
        parser.error(f"--models are some of {', '.join(known)}")
    output, entries = options.output.resolve(), []
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(MODELS_AT_A_TIME, mp_context=spawning, initializer=keep_in_process) as pool:
        for entry, seconds in pool.map(build_model, [known[name] for name in wanted], repeat(output)):
            entries.append(entry)
            print(f"{entry['name']}: {seconds:.1f} s", flush=True)
    (output / "models.json").write_text(json.dumps(entries, indent=1), "utf-8")


if __name__ == "__main__":
    main()
