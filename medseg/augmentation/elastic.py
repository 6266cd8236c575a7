"""Smooth random displacements: normal numbers on a coarse lattice, blurred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Sigma of the blur as a share of the patch's edge, and the largest displacement as a share of that sigma. The field's
# slope is then at most about 0.5 / sqrt(2), so that it never folds; in a patch of 96 voxels a point moves by up to 12.
SIGMA_SHARE = (0.1, 0.25)
MAGNITUDE_SHARE = (0.0, 0.5)
# Lattice points are one sigma apart, and go on for so many sigma beyond the patch.
REACH_SIGMAS = 3


@dataclass(frozen=True)
class Displacement:
    """A field of displacements.

    Args:
        lattice: normal numbers, (component, ...).
        sigma_share: sigma of the blur as a share of the edge, the same along every axis.
        magnitude_share: the largest displacement along each axis as a share of sigma.
    """

    lattice: NDArray[np.float32]
    sigma_share: float
    magnitude_share: float


def draw_displacement(rng: np.random.Generator, axes: int) -> Displacement:
    """A field's scale, magnitude and lattice.

    Args:
        rng: the sample's generator.
        axes: how many axes move, 2 or 3.
    Returns:
        the parameters of the field.
    """
    sigma, magnitude = float(rng.uniform(*SIGMA_SHARE)), float(rng.uniform(*MAGNITUDE_SHARE))
    points = len(_place_lattice(sigma))
    lattice = rng.standard_normal((axes, *[points] * axes), dtype=np.float32)
    return Displacement(lattice, sigma, magnitude)


def expand_displacement(displacement: Displacement, size: Sequence[int], device: torch.device) -> Tensor:
    """The displacement of every voxel.

    Args:
        displacement: what was drawn.
        size: the patch's voxels along the axes that move.
        device: where the field is wanted.
    Returns:
        voxels, (component, *size), float32, of mean 0; the largest along each axis is ``magnitude_share`` of sigma.
    """
    field = torch.from_numpy(displacement.lattice).to(device)
    centres = _place_lattice(displacement.sigma_share)
    for axis, length in enumerate(size, start=1):
        # Voxels' centres, from 0 to 1 along the edge.
        places = (np.arange(length) + 0.5) / length
        distances = (places[:, None] - centres) / displacement.sigma_share
        weights = torch.from_numpy(np.exp(-0.5 * distances**2).astype(np.float32)).to(device)
        field = torch.tensordot(weights, field, dims=([1], [axis])).movedim(0, axis)
    inner = tuple(range(1, field.ndim))
    field = field - field.mean(dim=inner, keepdim=True)
    edges = torch.tensor(list(size), dtype=torch.float32, device=device).reshape(-1, *[1] * len(size))
    wanted = edges * (displacement.sigma_share * displacement.magnitude_share)
    return field * (wanted / field.abs().amax(dim=inner, keepdim=True).clamp_min(1e-12))


def _place_lattice(sigma_share: float) -> NDArray[np.float64]:
    """Lattice points along an edge from 0 to 1, around its middle."""
    half = int(np.ceil(0.5 / sigma_share)) + REACH_SIGMAS
    return np.asarray(0.5 + sigma_share * np.arange(-half, half + 1), np.float64)
