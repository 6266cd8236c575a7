"""HD95, ASSD and NSD at 1 mm of pairs of masks by other packages, as their documentation says to call them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np
from benchmarks.metric_scenes import Scene
from numpy.typing import NDArray

TOLERANCE_MM = 1.0

Masks = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
Peer = Callable[[Masks, Sequence[float]], list[float]]


def find_peers() -> dict[str, Peer]:
    """The peers that are installed, by name; of those that are not, one line is printed."""
    peers = {}
    for name, module, run in (
        ("surface-distance", "surface_distance", run_surface_distance),
        ("monai", "monai.metrics", run_monai),
    ):
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            print(f"{name} is not installed and left out")
        else:
            peers[name] = run
    return peers


def run_surface_distance(masks: Masks, spacing_mm: Sequence[float]) -> list[float]:
    import surface_distance

    if not hasattr(np, "Inf"):
        np.Inf = np.inf  # a name that numpy 2 dropped and the package uses
    found = []
    for prediction, reference in masks:
        distances = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
        found.append(surface_distance.compute_robust_hausdorff(distances, 95))
        found.append(sum(surface_distance.compute_average_surface_distance(distances)) / 2)
        found.append(surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE_MM))
    return found


def run_monai(masks: Masks, spacing_mm: Sequence[float]) -> list[float]:
    import torch
    from monai import metrics

    torch.set_num_threads(1)
    maps = [torch.from_numpy(np.stack([pair[n] for pair in masks]))[None].float() for n in (0, 1)]
    options = {"include_background": True, "spacing": list(spacing_mm)}
    found = [
        metrics.compute_hausdorff_distance(*maps, percentile=95, **options),
        metrics.compute_average_surface_distance(*maps, symmetric=True, **options),
        metrics.compute_surface_dice(*maps, [TOLERANCE_MM] * len(masks), **options),
    ]
    return torch.stack(found).flatten().tolist()


def list_masks(scene: Scene) -> Masks:
    """The prediction's and the reference's mask of each label."""
    return [(scene.prediction == value, scene.reference == value) for value in scene.values]
