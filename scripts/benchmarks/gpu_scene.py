"""What the GPU benchmark works on: networks as nnU-Net plans them, and scans of balls in noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration, NetworkPlan, NormalisationPlan, Plan, TrainingPlan
from medseg.core.volume import Segmentation, Volume

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})
NAME = "3d_fullres"
MM = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Size:
    """One size of the benchmark.

    Args:
        patch: of the network.
        features: channels of its stages, each of which halves all axes.
        scan: voxels of a scan.
        cases: how many scans there are to train on.
    """

    name: str
    patch: tuple[int, int, int]
    features: tuple[int, ...]
    batch: int
    scan: tuple[int, int, int]
    cases: int


# The network that nnU-Net plans for the hippocampus, the one for 1 mm abdominal scans on 8 GB, and one for a trial.
HIPPOCAMPUS = Size("hippocampus", (40, 56, 40), (32, 64, 128, 256), 9, (40, 56, 40), 16)
ABDOMEN = Size("abdomen", (128, 128, 128), (32, 64, 128, 256, 320, 320), 2, (256, 256, 256), 4)
TRIAL = Size("trial", (24, 32, 24), (8, 16, 32), 2, (40, 48, 40), 3)


def make_plan(size: Size, *, optimiser: str = "sgd", rate: float = 1e-2) -> Plan:
    """A plan whose configuration ``3d_fullres`` has the size's patch and a U-Net of two convolutions a stage."""
    stages = len(size.features)
    configuration = Configuration(
        name=NAME,
        dimensions=3,
        spacing_mm=MM,
        median_shape=size.scan,
        patch_size=size.patch,
        batch_size=size.batch,
        batch_dice=False,
        normalisation=(NormalisationPlan(scheme="zscore"),),
        network=NetworkPlan(
            features=size.features,
            strides=((1, 1, 1), *((2, 2, 2),) * (stages - 1)),
            kernels=((3, 3, 3),) * stages,
            convolutions=(2,) * stages,
            decoder_convolutions=(2,) * (stages - 1),
        ),
        training=TrainingPlan(optimiser=optimiser, learning_rate=rate, iterations_per_epoch=20),  # type: ignore[arg-type]
        memory_gb=0.0,
    )
    return Plan(
        dataset="balls",
        preset="nnunet",
        target="a benchmark",
        channels=("MRI",),
        labels=LABELS,
        axis_order=(0, 1, 2),
        configurations={NAME: configuration},
        reasons={},
    )


def draw_scan(size: Size, seed: int) -> tuple[Volume, Segmentation]:
    """A bright ball (1) with a brighter one in it (2), in noise."""
    rng = np.random.default_rng(seed)
    shape = np.array(size.scan)
    centre = shape * rng.uniform(0.4, 0.6, 3)
    radius = shape.min() * rng.uniform(0.25, 0.4)
    squares = [
        (np.arange(length) - middle).reshape([-1 if axis == own else 1 for axis in range(3)]) ** 2
        for own, (length, middle) in enumerate(zip(size.scan, centre, strict=True))
    ]
    distance = np.sqrt(sum(squares))
    labels = (distance < radius).astype(np.uint8) + (distance < radius / 2)
    image = labels + rng.standard_normal(size.scan, dtype=np.float32)
    geometry = Geometry.from_spacing(size.scan, MM)
    return Volume(image[None].astype(np.float32), geometry, ("MRI",)), Segmentation(labels.astype(np.uint8), geometry)


def prepare_scans(size: Size, plan: Plan, folder: Path) -> Sequence:
    """The size's scans in medseg's compressed store, as training reads them."""
    from medseg.preprocessing import open_prepared, prepare_case, write_prepared

    for number in range(size.cases):
        volume, segmentation = draw_scan(size, number)
        prepared = prepare_case(volume, segmentation, plan, plan.configuration(NAME))
        write_prepared(folder, f"ball_{number}", prepared)
    return [open_prepared(folder, f"ball_{number}") for number in range(size.cases)]
