"""Small scans and plans for the tests of preprocessing."""

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration, NetworkPlan, NormalisationPlan, Plan, TrainingPlan
from medseg.core.volume import Segmentation, Volume

CLASSES = LabelScheme.make({"background": 0, "organ": 1, "tumour": 3, "ignore": 255})
REGIONS = LabelScheme.make({"whole": [1, 2], "core": [2]}, paint_order=(1, 2))


def make_plan(
    spacing_mm: tuple[float | None, float, float],
    normalisation: tuple[NormalisationPlan, ...],
    *,
    axis_order: tuple[int, int, int] = (2, 0, 1),
    labels: LabelScheme = CLASSES,
    dimensions: int = 3,
) -> tuple[Plan, Configuration]:
    network = NetworkPlan(
        features=(8,),
        strides=((1,) * dimensions,),
        kernels=((3,) * dimensions,),
        convolutions=(2,),
        decoder_convolutions=(),
    )
    configuration = Configuration(
        name="3d_fullres" if dimensions == 3 else "2d",
        dimensions=dimensions,
        spacing_mm=spacing_mm,
        median_shape=(16, 16, 16),
        patch_size=(16 if dimensions == 3 else 1, 16, 16),
        batch_size=2,
        batch_dice=False,
        normalisation=normalisation,
        network=network,
        training=TrainingPlan(),
        memory_gb=1.0,
    )
    plan = Plan(
        dataset="example",
        preset="nnunet",
        target="test",
        channels=tuple(f"c{n}" for n in range(len(normalisation))),
        labels=labels,
        axis_order=axis_order,
        configurations={configuration.name: configuration},
        reasons={},
    )
    return plan, configuration


def make_scan(
    *,
    shape: tuple[int, int, int] = (20, 24, 14),
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    channels: int = 1,
    kind: type = np.int16,
    values: tuple[int, ...] = (1, 3),
    seed: int = 0,
) -> tuple[Volume, Segmentation]:
    """A body with air of 0 around it and balls in it, on an oblique grid."""
    generator = np.random.default_rng(seed)
    array = np.zeros((channels, *shape), kind)
    body = tuple(slice(2 + axis, n - 1) for axis, n in enumerate(shape))
    inner = array[:, *body]
    array[:, *body] = generator.integers(1, 900, size=inner.shape).astype(kind)
    affine = np.eye(4)
    angle = 0.2
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= spacing_mm
    affine[:3, 3] = (-12.0, 30.0, 5.5)
    labels = np.zeros(shape, np.uint8)
    position = np.moveaxis(np.indices(shape), 0, -1) * spacing_mm
    for number, value in enumerate(values):
        centre = (np.array(shape) * spacing_mm) * (0.45 + 0.1 * number)
        radius = np.min(np.array(shape) * spacing_mm) * (0.36 - 0.16 * number)
        labels[((position - centre) ** 2).sum(axis=-1) < radius**2] = value
    geometry = Geometry(shape, affine)
    return Volume(array, geometry, tuple(f"c{n}" for n in range(channels))), Segmentation(labels, geometry)
