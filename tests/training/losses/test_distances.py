"""Distances to a border against the brute-force search and closed forms."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medseg.training.losses.distances import find_nearest, measure_distances, measure_maps


def search(inside: NDArray[np.bool_], known: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """The distance to each voxel of the other kind, the smallest of all."""
    places = np.argwhere(np.ones_like(inside)) * np.asarray(spacing)
    kind = np.where(known, np.where(inside, 1, -1), 0).ravel()
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    distances = np.where(kind[:, None] * kind[None] == -1, apart, np.inf).min(axis=1)
    known_distances = np.where(np.isfinite(distances), distances, 0)
    return (-kind * known_distances).reshape(inside.shape)


@pytest.mark.parametrize("shape", [(5, 6, 7), (9, 11)])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
@pytest.mark.parametrize("partly", [False, True])
def test_equals_the_search_of_all_voxels(shape: tuple[int, ...], share: float, partly: bool) -> None:
    rng = np.random.default_rng(4)
    inside, known = rng.random(shape) < share, rng.random(shape) < (0.7 if partly else 1.1)
    spacing = (3.3, 1.0, 1.2)[: len(shape)]
    distances = measure_distances(inside, known if partly else None, spacing)
    assert distances.dtype == np.float32
    assert np.allclose(distances, search(inside, known, spacing), atol=1e-5)


def test_a_plane_has_whole_numbers() -> None:
    inside = np.zeros((6, 3), bool)
    inside[:2] = True
    assert measure_distances(inside, None, ()).tolist() == [[d] * 3 for d in (-2, -1, 1, 2, 3, 4)]


@pytest.mark.parametrize("value", [False, True])
def test_one_kind_alone_has_no_border(value: bool) -> None:
    inside = np.full((3, 4, 5), value)
    assert not measure_distances(inside, None, ()).any()
    half = np.zeros_like(inside)
    half[:, :2] = not value
    assert not measure_distances(inside ^ half, inside ^ ~half if value else ~half, ()).any()


def test_maps_are_those_of_each_sample_and_channel() -> None:
    maps = torch.rand(3, 2, 5, 6, 7, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = (torch.rand(3, 1, 5, 6, 7, generator=torch.Generator().manual_seed(2)) < 0.6).float()
    distances = measure_maps(maps, mask, (2.0, 1.0, 1.0))
    assert not distances.requires_grad
    inside = maps.detach().numpy() > 0.5
    for sample in range(3):
        for channel in range(2):
            alone = measure_distances(inside[sample, channel], mask[sample, 0].numpy() > 0, (2.0, 1.0, 1.0))
            assert np.array_equal(distances[sample, channel].numpy(), alone)


def test_nearest_voxels_are_as_near_as_the_distance_says() -> None:
    mask = np.random.default_rng(3).random((6, 7, 8)) < 0.05
    spacing = np.array([2.5, 1.0, 1.0])
    places = find_nearest(mask, tuple(spacing))
    assert mask[places].all()
    apart = np.linalg.norm(
        (np.stack(places, -1) - np.argwhere(np.ones_like(mask)).reshape(*mask.shape, 3)) * spacing, axis=-1
    )
    assert np.allclose(apart, np.maximum(measure_distances(mask, None, tuple(spacing)), 0), atol=1e-5)
