"""The three definitions of surface metrics against the packages they come from, on 200 random pairs of masks."""

import importlib
import math

import numpy as np
import pytest
from scipy import ndimage

from medseg import evaluation

PAIRS = 200
TOLERANCES_MM = (0.5, 1.0, 2.5)

# The packages use names of scipy, numpy and torch that are on their way out.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]


def draw_pair(seed):
    """Two masks that are not empty, and their spacing: noise, single voxels, full borders, balls; every fourth 2D."""
    rng = np.random.default_rng(seed)
    axes = 2 if seed % 4 == 3 else 3
    shape = rng.integers(2, 40 if axes == 2 else 16, axes)
    kind = seed % 5
    if kind == 0:  # balls that may reach over the border
        centre = [rng.uniform(0, n, (2, 1)) for n in shape]
        grid = np.ogrid[tuple(slice(0, n) for n in shape)]
        masks = [sum((x - c[n]) ** 2 for x, c in zip(grid, centre, strict=True)) < rng.uniform(1, 80) for n in (0, 1)]
    else:
        masks = [rng.random(shape) < rng.choice([0.02, 0.2, 0.6, 0.97]) for _ in range(2)]
    if kind == 1:  # a single voxel against something
        masks[0] = np.zeros(shape, bool)
    if kind == 2:  # along the border of the array
        masks[1][0], masks[1][..., -1] = True, True
    if kind == 3:  # the same but for a little
        masks[1] = masks[0] ^ (rng.random(shape) < 0.02)
    for mask in masks:
        if not mask.any():
            mask.flat[rng.integers(mask.size)] = True
    return *masks, tuple(rng.choice([0.5, 1.0, 2.0], axes) * rng.choice([1.0, rng.uniform(0.5, 2.0)]))


def measure_all(prediction, reference, spacing, definition):
    """Every surface metric of ours, by name; NSD by its tolerance."""
    found = {
        name: getattr(evaluation, f"measure_{name}")(prediction, reference, spacing, definition=definition)
        for name in ("hd", "hd95", "assd", "masd")
    }
    for tolerance in TOLERANCES_MM:
        found[f"nsd {tolerance}"] = evaluation.measure_nsd(
            prediction, reference, spacing, tolerance, definition=definition
        )
    return found


def assert_equal(found, expected):
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6, rel=1e-6), name


@pytest.mark.parametrize("seed", range(PAIRS))
def test_surfel_as_surface_distance(seed, monkeypatch):
    peer = pytest.importorskip("surface_distance", reason="the package surface-distance (group bench) is missing")
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    prediction, reference, spacing = draw_pair(seed)
    distances = peer.compute_surface_distances(reference, prediction, spacing)
    means = peer.compute_average_surface_distance(distances)
    areas = distances["surfel_areas_gt"].sum(), distances["surfel_areas_pred"].sum()
    expected = {
        "hd": peer.compute_robust_hausdorff(distances, 100),
        "hd95": peer.compute_robust_hausdorff(distances, 95),
        "assd": np.dot(means, areas) / sum(areas),
        "masd": sum(means) / 2,
        **{f"nsd {mm}": peer.compute_surface_dice_at_tolerance(distances, mm) for mm in TOLERANCES_MM},
    }
    assert_equal(measure_all(prediction, reference, spacing, "surfel"), expected)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_voxel_as_monai(seed):
    pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics", reason="the package monai is missing")
    torch = importlib.import_module("torch")
    prediction, reference, spacing = draw_pair(seed)
    maps = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": list(spacing)}
    # Its own hd95 finds the place between two distances in float32, and so is off by 1e-6 of the step between them.
    utilities = importlib.import_module("monai.metrics.utils")
    distances = utilities.get_edge_surface_distance(
        maps[0][0, 0], maps[1][0, 0], spacing=list(spacing), symmetric=True
    )[1]
    expected = {
        "hd": monai.compute_hausdorff_distance(*maps, **options),
        "hd95": max(torch.quantile(way.double(), 0.95) for way in distances),
        "assd": monai.compute_average_surface_distance(*maps, symmetric=True, **options),
        **{f"nsd {mm}": monai.compute_surface_dice(*maps, [mm], **options) for mm in TOLERANCES_MM},
    }
    hd95 = float(monai.compute_hausdorff_distance(*maps, percentile=95, **options))
    assert float(expected["hd95"]) == pytest.approx(hd95, abs=1e-4)
    ways = [monai.compute_average_surface_distance(*way, **options) for way in (maps, maps[::-1])]
    expected["masd"] = sum(ways) / 2
    assert_equal(measure_all(prediction, reference, spacing, "voxel"), expected)
    assert evaluation.measure_dice(prediction, reference) == pytest.approx(
        float(monai.compute_dice(*maps, include_background=True)), abs=1e-6
    )
    assert evaluation.measure_iou(prediction, reference) == pytest.approx(
        float(monai.compute_iou(*maps, include_background=True)), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(PAIRS))
def test_pooled_as_medpy(seed):
    peer = pytest.importorskip("medpy.metric.binary", reason="the package medpy (group bench) is missing")
    prediction, reference, spacing = draw_pair(seed)
    expected = {name: getattr(peer, name)(prediction, reference, spacing) for name in ("hd", "hd95", "assd")}
    expected["masd"] = (peer.asd(prediction, reference, spacing) + peer.asd(reference, prediction, spacing)) / 2
    assert_equal(measure_all(prediction, reference, spacing, "pooled"), expected)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_voxel_as_the_rule_of_metrics_reloaded(seed):
    """The rule worked out with scipy alone, where no package is installed."""
    prediction, reference, spacing = draw_pair(seed)
    layers = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, reference)]
    forth, back = (ndimage.distance_transform_edt(~layers[1 - n], sampling=spacing)[layers[n]] for n in (0, 1))
    both = np.concatenate([forth, back])
    expected = {
        "hd": both.max(),
        "hd95": max(np.percentile(forth, 95), np.percentile(back, 95)),
        "assd": both.mean(),
        "masd": (forth.mean() + back.mean()) / 2,
        **{f"nsd {mm}": np.mean(both <= mm) for mm in TOLERANCES_MM},
    }
    assert_equal(measure_all(prediction, reference, spacing, "voxel"), expected)
    shared, together = np.logical_and(*layers).sum(), np.logical_or(*layers).sum()
    assert evaluation.measure_boundary_iou(prediction, reference, spacing) == pytest.approx(shared / together)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_voxel_as_metrics_reloaded(seed):
    peer = pytest.importorskip(
        "MetricsReloaded.metrics.pairwise_measures", reason="the package MetricsReloaded is missing"
    )
    prediction, reference, spacing = draw_pair(seed)
    maps = [mask.astype(np.uint8) for mask in (prediction, reference)]
    scores = peer.BinaryPairwiseMeasures(*maps, pixdim=list(spacing), dict_args={"nsd": 1.0})
    expected = {
        "hd": scores.measured_hausdorff_distance(),
        "hd95": scores.measured_hausdorff_distance_perc(),
        "assd": scores.measured_average_distance(),
        "masd": scores.measured_masd(),
        "nsd 1.0": scores.normalised_surface_distance(),
    }
    assert_equal(measure_all(prediction, reference, spacing, "voxel"), expected)
    assert evaluation.measure_boundary_iou(prediction, reference) == pytest.approx(scores.boundary_iou())


def test_pairs_are_as_many_sided_as_they_should_be():
    pairs = [draw_pair(seed) for seed in range(PAIRS)]
    assert sum(mask.ndim == 2 for mask, *_ in pairs) == PAIRS // 4
    assert sum(min(a.sum(), b.sum()) == 1 for a, b, _ in pairs) >= PAIRS // 5
    touching = sum(b[0].any() and b[..., -1].any() for _, b, _ in pairs)
    assert touching > PAIRS // 4
    assert all(math.isfinite(value) for _, _, spacing in pairs for value in spacing)
