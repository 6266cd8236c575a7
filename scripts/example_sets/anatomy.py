"""A made-up abdomen, about two thirds of an adult's size: tissues as shapes with their CT numbers.

World axes are RAS+, in millimetres: +x is the patient's right, +y the front, +z the head. The origin is the middle
of the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from example_sets.patients import Patient
from example_sets.shapes import Blob, Ellipsoid, Shape, Tube, draw_waves

INFINITE = float("inf")
TUMOUR_GAP_MM = 8.0  # between two lesions: more than a diagonal of any voxel here, so that no mask joins them
ORGAN_MARGIN_MM = 2.5  # of organ around every lesion
NECROSIS_ML = 8.0  # lesions from this size on have a darker core


@dataclass(frozen=True)
class Tissue:
    """A region with its CT number, painted over what came before it."""

    shape: Shape
    hu: float


@dataclass(frozen=True)
class Lesion:
    """A tumour on one day.

    Args:
        name: the same on every day: P03-1.
        shape: its region.
        hu: its CT number.
        core: a darker middle, or None.
    """

    name: str
    shape: Blob
    hu: float
    core: Tissue | None


@dataclass(frozen=True)
class Body:
    """A patient's abdomen without lesions.

    Args:
        half_width_mm: of the trunk, along x.
        half_depth_mm: of the trunk, along y.
        surroundings: everything outside the organ, in the order of painting.
        organ: the organ's outer surface; its lesions lie inside.
        organ_hu: its CT number.
        vessels: inside the organ, part of it.
    """

    half_width_mm: float
    half_depth_mm: float
    surroundings: tuple[Tissue, ...]
    organ: Blob
    organ_hu: float
    vessels: tuple[Tissue, ...]


def draw_body(rng: np.random.Generator) -> Body:
    """An abdomen that differs from patient to patient in size, places and CT numbers."""
    size = rng.uniform(0.96, 1.04)
    width, depth = 97.0 * size * rng.uniform(0.97, 1.03), 74.0 * size * rng.uniform(0.97, 1.03)
    organ = draw_organ(rng, size)
    surroundings = (
        *_draw_trunk(rng, width, depth),
        *_draw_skeleton(rng, width, depth),
        *_draw_organs(rng, size, depth),
    )
    return Body(
        half_width_mm=width,
        half_depth_mm=depth,
        surroundings=surroundings,
        organ=organ,
        organ_hu=rng.uniform(102, 114),
        vessels=_draw_vessels(rng, organ),
    )


def draw_organ(rng: np.random.Generator, size: float) -> Blob:
    """The organ: liver-like, on the patient's right side."""
    half_axes = size * np.array([46.0, 41.0, 41.0]) * rng.uniform(0.95, 1.05, size=3)
    centre = size * np.array([30.0, 6.0, 4.0]) + rng.uniform(-2, 2, size=3)
    amplitudes = (0.07, 0.06, 0.05, 0.03)
    return Blob(centre, half_axes, draw_waves(rng, amplitudes, (1.5, 3.5)), power=2.4)


def draw_lesions(rng: np.random.Generator, patient: Patient, body: Body) -> list[list[Lesion]]:
    """The patient's lesions for each day, the largest first; raises RuntimeError where they find no room.

    A lesion keeps its place and form from day to day and changes its volume alone.
    """
    placed: list[tuple[int, Blob]] = []
    by_size = sorted(range(len(patient.lesions_ml)), key=lambda n: -max(patient.lesions_ml[n]))
    for number in by_size:
        form = _draw_form(rng).scaled_to(max(patient.lesions_ml[number]))
        placed.append((number, _place_lesion(rng, form, body.organ, [other for _, other in placed])))
    days: list[list[Lesion]] = [[] for _ in patient.days]
    for number, shape in placed:
        drop_hu = rng.uniform(50, 70) if rng.random() < 0.85 else rng.uniform(38, 46)
        for day, volume_ml in zip(days, patient.lesions_ml[number], strict=True):
            if volume_ml > 0:
                name = f"{patient.name}-{number + 1}"
                day.append(_make_lesion(name, shape.scaled_to(volume_ml), body.organ_hu - drop_hu))
    return [sorted(day, key=lambda lesion: -lesion.shape.volume_ml) for day in days]


def _make_lesion(name: str, shape: Blob, hu: float) -> Lesion:
    volume_ml = shape.volume_ml
    core = Tissue(shape.scaled_to(0.12 * volume_ml), hu - 18.0) if volume_ml >= NECROSIS_ML else None
    return Lesion(name, shape, hu, core)


def _draw_form(rng: np.random.Generator) -> Blob:
    waves = draw_waves(rng, (0.07, 0.05, 0.04), (2.0, 4.5))
    return Blob(np.zeros(3), rng.uniform(0.85, 1.15, size=3), waves)


def _place_lesion(rng: np.random.Generator, form: Blob, organ: Blob, others: list[Blob]) -> Blob:
    centre, reach_mm = organ.reach
    surface = form.surface()
    swollen = surface * (1.0 + ORGAN_MARGIN_MM / np.linalg.norm(surface, axis=1, keepdims=True))
    radius_mm = np.linalg.norm(surface, axis=1).max()
    for _ in range(20000):
        place = centre + rng.uniform(-reach_mm, reach_mm, size=3)
        room = all(
            np.linalg.norm(place - other.centre)
            > radius_mm + np.linalg.norm(other.surface() - other.centre, axis=1).max() + TUMOUR_GAP_MM
            for other in others
        )
        if room and organ.level(place[None])[0] < 0 and organ.level(place + swollen).max() < 0:
            return form.moved_to(place)
    raise RuntimeError("no room for a lesion in the organ")


def _draw_trunk(rng: np.random.Generator, width: float, depth: float) -> list[Tissue]:
    rim = rng.uniform(6.0, 10.0)
    table_y = -depth - 9.0
    return [
        Tissue(Ellipsoid((0, table_y, 0), (82.0, 5.0, INFINITE), power=4.0), -560.0),
        Tissue(Ellipsoid((0, table_y, 0), (80.0, 3.0, INFINITE), power=4.0), -880.0),
        Tissue(Ellipsoid((0, 0, 0), (width, depth, INFINITE), power=2.3), rng.uniform(-108, -96)),
        Tissue(Ellipsoid((0, 0, 0), (width - rim, depth - rim, INFINITE), power=2.3), rng.uniform(48, 58)),
        Tissue(Ellipsoid((0, 6, 0), (width - rim - 9, depth - rim - 10, INFINITE), power=2.3), rng.uniform(-95, -80)),
        # The muscles along the spine.
        Tissue(Ellipsoid((-27, -depth * 0.68, 0), (20.0, 16.0, INFINITE)), 55.0),
        Tissue(Ellipsoid((27, -depth * 0.68, 0), (20.0, 16.0, INFINITE)), 55.0),
    ]


def _draw_skeleton(rng: np.random.Generator, width: float, depth: float) -> list[Tissue]:
    spine_y = -depth * 0.50
    tissues = [Tissue(Ellipsoid((0, spine_y, 0), (16.0, 13.0, INFINITE)), 95.0)]  # discs, between the vertebrae
    first = rng.uniform(-98, -72)
    for z in first + 27.0 * np.arange(8):
        tissues.append(Tissue(Ellipsoid((0, spine_y - 19, z - 4), (5.0, 17.0, 9.0)), 420.0))
        tissues.append(Tissue(Ellipsoid((0, spine_y, z), (17.5, 14.5, 11.0), power=4.0), 470.0))
        tissues.append(Tissue(Ellipsoid((0, spine_y, z), (15.0, 12.0, 9.0), power=4.0), rng.uniform(190, 240)))
    tissues.append(Tissue(Ellipsoid((0, spine_y - 19, 0), (11.0, 9.0, INFINITE)), 380.0))
    tissues.append(Tissue(Ellipsoid((0, spine_y - 19, 0), (7.5, 5.5, INFINITE)), 28.0))
    angle = np.linspace(0.06, 0.74, 40) * np.pi  # from the spine round to the front
    for z in first + 27.0 * np.arange(1, 9):
        for side in (-1.0, 1.0):
            x = side * (width - 15.0) * np.sin(angle)
            y = -(depth - 14.0) * np.cos(angle)
            path = np.column_stack([x, y, z - 34.0 * angle / np.pi])
            tissues.append(Tissue(Tube(path, 4.4), 560.0))
            tissues.append(Tissue(Tube(path, 2.4), 330.0))
    return tissues


def _draw_organs(rng: np.random.Generator, size: float, depth: float) -> list[Tissue]:
    """What surrounds the organ and could be taken for it or for a lesion of it."""

    def near(*place: float) -> tuple[float, float, float]:
        x, y, z = size * np.array(place) + rng.uniform(-3, 3, size=3)
        return float(x), float(y), float(z)

    def about(*half_axes: float) -> tuple[float, float, float]:
        x, y, z = size * np.array(half_axes) * rng.uniform(0.9, 1.1, size=3)
        return float(x), float(y), float(z)

    spine_y = -depth * 0.50
    stomach, kidneys = near(-36, 24, 4), (near(-42, -26, -26), near(46, -40, -34))
    stomach_size = about(25, 18, 32)
    bubble = (stomach[0], stomach[1] + 0.45 * stomach_size[1], stomach[2])
    aorta = [(-11.0, spine_y + 24, z) for z in (-200.0, 200.0)]
    cava = [(13.0, spine_y + 23, z) for z in (-200.0, 200.0)]
    tissues = [Tissue(Ellipsoid(near(*place), about(9, 8, 12)), rng.uniform(15, 60)) for place in _BOWEL]
    tissues += [
        Tissue(Ellipsoid(near(46, -6, 62), about(38, 46, 32)), rng.uniform(-860, -820)),
        Tissue(Ellipsoid(near(-46, -6, 62), about(38, 46, 32)), rng.uniform(-860, -820)),
        Tissue(Ellipsoid(near(-10, 24, 62), about(34, 30, 24)), rng.uniform(130, 150)),
        Tissue(Tube(np.array(aorta), 7.5 * size), rng.uniform(165, 195)),
        Tissue(Tube(np.array(cava), 8.0 * size), rng.uniform(118, 140)),
        Tissue(Tube(np.array([near(8, 6, -24), near(-12, 2, -14), near(-44, -8, -2)]), 7.0), rng.uniform(82, 96)),
        Tissue(Ellipsoid(near(-62, -14, 12), about(15, 25, 28)), rng.uniform(124, 136)),
        Tissue(Ellipsoid(stomach, stomach_size), rng.uniform(62, 78)),
        Tissue(
            Ellipsoid(stomach, (stomach_size[0] - 4, stomach_size[1] - 4, stomach_size[2] - 4)), rng.uniform(30, 55)
        ),
        Tissue(Ellipsoid(bubble, (0.6 * stomach_size[0], 0.35 * stomach_size[1], 0.6 * stomach_size[2])), -960.0),
        Tissue(Ellipsoid(near(24, 30, -40), about(9, 9, 14)), rng.uniform(4, 16)),
    ]
    for kidney in kidneys:
        tissues.append(Tissue(Ellipsoid(kidney, about(14, 13, 26)), rng.uniform(165, 190)))
        tissues.append(Tissue(Ellipsoid(kidney, about(6, 5, 13)), rng.uniform(60, 90)))
    return tissues


_BOWEL = ((-20, 36, -34), (-44, 30, -42), (-60, 14, -36), (0, 44, -46), (-22, 12, -50), (24, 14, -56), (56, 18, -52))


def _draw_vessels(rng: np.random.Generator, organ: Blob) -> tuple[Tissue, ...]:
    """Bright branches from the hilum into the organ; they belong to it."""
    hilum = organ.centre + np.array([-0.45, -0.3, -0.35]) * organ.half_axes
    hu = rng.uniform(150, 168)
    vessels = []
    for radius_mm in (3.4, 2.8, 2.4, 2.0):
        direction = rng.normal(size=3) + np.array([1.0, 0.3, 0.4])
        tip = hilum + direction / np.linalg.norm(direction) * rng.uniform(38, 58)
        bend = (hilum + tip) / 2 + rng.uniform(-6, 6, size=3)
        vessels.append(Tissue(Tube(np.array([hilum, bend, tip]), radius_mm), hu))
    return tuple(vessels)
