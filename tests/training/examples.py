"""Small plans, cases and networks for the tests of training and inference."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration, NetworkPlan, NormalisationPlan, Plan, TrainingPlan
from medseg.preprocessing import PreparedCase, open_prepared, prepare_case, write_prepared
from medseg.training import train_fold
from medseg.training.job import TrainedFold
from tests.preprocessing.examples import CLASSES, make_scan

NETWORK_3D = NetworkPlan(
    features=(4, 8),
    strides=((1, 1, 1), (2, 2, 2)),
    kernels=((3, 3, 3), (3, 3, 3)),
    convolutions=(1, 1),
    decoder_convolutions=(1,),
)
NETWORK_2D = NetworkPlan(
    features=(4, 8),
    strides=((1, 1), (2, 2)),
    kernels=((3, 3), (3, 3)),
    convolutions=(1, 1),
    decoder_convolutions=(1,),
)
TRAINING = TrainingPlan(
    optimiser="adamw", learning_rate=3e-3, epochs=2, iterations_per_epoch=2, ema_decay=0.9, precision="float32", seed=3
)


def make_configuration(
    *,
    dimensions: int | None = None,
    network: NetworkPlan | None = None,
    patch_size: tuple[int, int, int] | None = None,
    batch_size: int = 2,
    channels: int = 1,
    **training: Any,
) -> Configuration:
    """A configuration whose network learns in milliseconds; in 3D where neither network nor number says otherwise."""
    if dimensions is None:
        dimensions = 3 if network is None else len(network.kernels[0])
    flat = dimensions == 2
    return Configuration.model_validate(
        {
            "name": "2d" if flat else "3d_fullres",
            "dimensions": dimensions,
            "spacing_mm": (None if flat else 1.0, 1.0, 1.0),
            "median_shape": (14, 20, 24),
            "patch_size": patch_size or ((1, 8, 8) if flat else (8, 8, 8)),
            "batch_size": batch_size,
            "batch_dice": flat,
            "normalisation": (NormalisationPlan(scheme="zscore"),) * channels,
            "network": network or (NETWORK_2D if flat else NETWORK_3D),
            "training": TRAINING.model_copy(update=training),
            "memory_gb": 1.0,
        }
    )


def make_plan(configuration: Configuration, labels: LabelScheme = CLASSES) -> Plan:
    """A plan of one configuration."""
    return Plan(
        dataset="example",
        preset="nnunet",
        target="test",
        channels=tuple(f"c{n}" for n in range(len(configuration.normalisation))),
        labels=labels,
        axis_order=(2, 0, 1),
        configurations={configuration.name: configuration},
        reasons={},
    )


def prepare_cases(folder: Path, plan: Plan, configuration: Configuration, count: int = 3) -> list[PreparedCase]:
    """Small scans of a body with two balls, prepared in ``folder``."""
    channels = len(configuration.normalisation)
    for number in range(count):
        volume, segmentation = make_scan(seed=number, channels=channels, shape=(20, 24, 14 + number))
        write_prepared(folder, f"case{number}", prepare_case(volume, segmentation, plan, configuration))
    return [open_prepared(folder, f"case{number}") for number in range(count)]


@dataclass(frozen=True)
class ArraySource:
    """A case of random numbers to cut patches from; each voxel of the labels in ``places`` is listed."""

    shape: tuple[int, ...]
    places: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    seed: int = 0
    name: str = "array"

    @property
    def locations(self) -> dict[int, NDArray[np.int32]]:
        return {index: np.array(voxels, np.int32).reshape(-1, 3) for index, voxels in self.places.items()}

    @property
    def image(self) -> NDArray[np.float32]:
        return np.random.default_rng(self.seed).normal(size=(1, *self.shape)).astype(np.float32)

    @property
    def labels(self) -> NDArray[np.uint8]:
        labels = np.zeros(self.shape, np.uint8)
        for index, voxels in self.places.items():
            for voxel in voxels:
                labels[voxel] = index + 1
        return labels

    def read_patch(self, start: Any, stop: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        return self.image[:, *box], self.labels[box]


@dataclass(frozen=True)
class Setting:
    """A plan with prepared cases: the last one is for validation."""

    plan: Plan
    configuration: Configuration
    cases: list[PreparedCase]
    folder: Path

    def train(self, run: str = "run", **options: Any) -> TrainedFold:
        """Train on all cases but the last, on the CPU."""
        options = {"validation": self.cases[-1:], "training": self.cases[:-1], "device": "cpu", **options}
        configuration = options.pop("configuration", self.configuration)
        return train_fold(
            self.plan, configuration, options.pop("training"), options.pop("validation"), self.folder / run, **options
        )


def make_setting(folder: Path, labels: LabelScheme = CLASSES, count: int = 3, **options: Any) -> Setting:
    """A setting in ``folder``; the options are those of ``make_configuration``."""
    configuration = make_configuration(**options)
    plan = make_plan(configuration, labels)
    return Setting(plan, configuration, prepare_cases(folder / "prepared", plan, configuration, count), folder)


def change_training(setting: Setting, **values: Any) -> Configuration:
    """The setting's configuration with other values of its training."""
    training = setting.configuration.training.model_copy(update=values)
    return setting.configuration.model_copy(update={"training": training})


def same(a: TrainedFold, b: TrainedFold) -> bool:
    """Whether two trainings gave the same weights, bit for bit."""
    return a.weights.keys() == b.weights.keys() and all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The epochs in ``log.jsonl``."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
