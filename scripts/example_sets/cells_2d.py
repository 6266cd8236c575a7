"""The data set ``cells_2d``: pictures of round cells in two plain folders, the foreground painted 255."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from example_sets import files

SEED = 20241

COUNT = 24
FOREGROUND = 255
GAP_PIXELS = 3.0  # between two cells, so that no mask joins them
SUBDIVISIONS = 9  # of each pixel side, for partial areas
ANGLES = 720  # of the area integral; the waves have at most 5 periods, for which it is exact


def write_cells_2d(folder: Path, count: int = COUNT) -> None:
    """Write the pictures ``images/``, the masks ``masks/`` and ``areas.csv``."""
    rows: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([SEED, number])))
        case = f"cells_{number:02d}"
        shape = tuple(int(n) for n in rng.integers(120, 137, size=2))
        cells = draw_cells(rng, shape)
        parts = [_measure_coverage(cell, shape) for cell in cells]
        mask = np.any([part > 0.5 for part in parts], axis=0)
        files.write_png(folder / "images" / f"{case}.png", render_picture(rng, parts, shape))
        files.write_png(folder / "masks" / f"{case}.png", mask.astype(np.uint8) * FOREGROUND)
        rows += _list_areas(case, cells, parts)
    files.write_table(folder / "areas.csv", rows)


def draw_cells(rng: np.random.Generator, shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Cells that lie apart and wholly inside the picture.

    Returns:
        for each cell a row (centre row, centre column, radius, then amplitude and phase of the waves with 2, 3, 4, 5
        periods), the largest area first; pixels and radians.
    """
    cells: list[NDArray[np.float64]] = []
    wanted = int(rng.integers(6, 15))
    for _ in range(2000):
        if len(cells) == wanted:
            break
        radius = rng.uniform(5.0, 12.0)
        amplitudes = rng.uniform(0, 1, size=4) * [0.18, 0.07, 0.04, 0.02]
        waves = np.column_stack([amplitudes, rng.uniform(0, 2 * np.pi, size=4)]).ravel()
        reach = radius * (1 + amplitudes.sum())
        centre = rng.uniform(reach + 2, np.array(shape) - reach - 4)
        if all(np.hypot(*(centre - other[:2])) > reach + _reach(other) + GAP_PIXELS for other in cells):
            cells.append(np.array([*centre, radius, *waves]))
    return sorted(cells, key=measure_area, reverse=True)


def measure_area(cell: NDArray[np.float64]) -> float:
    """A cell's area, pixels: half the integral of its squared radius."""
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return float((_radius(cell, angle) ** 2).sum() * np.pi / ANGLES)


def render_picture(
    rng: np.random.Generator, parts: list[NDArray[np.float64]], shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """The picture, 8-bit grey: uneven light, cells of differing brightness, small debris, blur and noise."""
    row, column = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    slope = rng.uniform(-10, 10, size=2)
    picture = rng.uniform(36, 56) + slope[0] * row + slope[1] * column
    for part in parts:
        picture += part * rng.uniform(45, 110)
    for _ in range(int(rng.integers(8, 20))):
        place, radius = rng.uniform(0, shape), rng.uniform(0.6, 1.4)
        distance = np.hypot(np.arange(shape[0])[:, None] - place[0], np.arange(shape[1]) - place[1])
        picture += rng.uniform(50, 110) * np.exp(-0.5 * (distance / radius) ** 2)
    picture = scipy.ndimage.gaussian_filter(picture, 0.9)
    picture += rng.normal(size=shape) * (2.5 + 0.25 * np.sqrt(picture))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _list_areas(case: str, cells: list[NDArray[np.float64]], parts: list[NDArray[np.float64]]) -> list[dict[str, Any]]:
    areas = [measure_area(cell) for cell in cells]
    bounds = [
        np.abs((part > 0.5) - part).sum() + abs(part.sum() - area) for part, area in zip(parts, areas, strict=True)
    ]
    rows = [(0, sum(areas), sum(bounds)), *((n + 1, areas[n], bounds[n]) for n in range(len(cells)))]
    return [
        {
            "case": case,
            "label": "cell",
            "instance": instance,
            "area_pixels": round(float(area), 3),
            "bound_pixels": float(np.ceil(bound * 1e3 + 1) / 1e3),
        }
        for instance, area, bound in rows
    ]


def _measure_coverage(cell: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """How much of each pixel a cell covers, (row, column), 0 to 1."""
    coverage = np.zeros(shape)
    first = np.floor(cell[:2] - _reach(cell)).astype(int)
    count = int(np.ceil(2 * _reach(cell))) + 2
    steps = (np.arange(count)[:, None] + (np.arange(SUBDIVISIONS) + 0.5) / SUBDIVISIONS - 0.5).ravel()
    row, column = (first[0] + steps - cell[0])[:, None], (first[1] + steps - cell[1])[None, :]
    inside = np.hypot(row, column) < _radius(cell, np.arctan2(column, row))
    box = tuple(slice(start, start + count) for start in first)
    coverage[box] = inside.reshape(count, SUBDIVISIONS, count, SUBDIVISIONS).mean(axis=(1, 3))
    return coverage


def _radius(cell: NDArray[np.float64], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    factor = np.ones_like(angle)
    for periods, (amplitude, phase) in enumerate(cell[3:].reshape(4, 2), start=2):
        factor += amplitude * np.cos(periods * angle + phase)
    return np.asarray(cell[2] * factor)


def _reach(cell: NDArray[np.float64]) -> float:
    return float(cell[2] * (1 + cell[3::2].sum()))
