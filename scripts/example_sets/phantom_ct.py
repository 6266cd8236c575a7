"""The data set ``phantom_ct``: abdomens as CT in the nnU-Net raw layout, and the true volumes of organ and tumours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel.orientations
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from example_sets import files
from example_sets.anatomy import Body, Lesion, draw_body, draw_lesions
from example_sets.patients import Scan, list_scans
from example_sets.shapes import measure_coverage
from medseg.core.geometry import Geometry

SEED = 20240

ORGAN, TUMOUR = 1, 2
AIR_HU = -1000.0
# Masks and true partial volumes rest on 9^3 points a voxel where a surface passes, the rest of the picture on 3^3.
FINE, COARSE = 9, 3
STEP_HU = 4  # CT numbers are rounded to multiples of it: a quarter of the noise at most, and files a third smaller


@dataclass(frozen=True, eq=False)
class Masks:
    """What the labels cover, (i, j, k) each.

    Args:
        labels: the label map: the value that covers more than half of the voxel.
        organ: part of each voxel inside the organ's outer surface, its tumours included.
        lesions: for each lesion the part of each voxel that it covers.
    """

    labels: NDArray[np.uint8]
    organ: NDArray[np.float32]
    lesions: list[NDArray[np.float32]]


def write_phantom_ct(folder: Path, scans: list[Scan] | None = None) -> None:
    """Write the data set.

    Args:
        folder: where ``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs`` and the tables go.
        scans: which cases; None for all.
    """
    scans = list_scans() if scans is None else scans
    volumes = [row for scan in scans for row in write_case(folder, scan)]
    cases = [{"case": scan.case, "patient": scan.patient.name, "day": scan.day} for scan in scans]
    files.write_table(folder / "cases.csv", cases)
    files.write_table(folder / "volumes.csv", volumes)
    content = {
        "name": "phantom_ct",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": ORGAN, "tumour": TUMOUR},
        "numTraining": sum(not scan.is_test for scan in scans),
        "file_ending": ".nii.gz",
    }
    files.write_json(folder / "dataset.json", content)


def write_case(folder: Path, scan: Scan) -> list[dict[str, Any]]:
    """Write one scan and its mask; returns its rows of ``volumes.csv``."""
    body, lesions = draw_patient(scan)
    grid, masks = _draw_fitting_grid(scan, body, lesions)
    image = render_image(scan, body, lesions, grid, masks)
    part = "Ts" if scan.is_test else "Tr"
    files.write_nifti(folder / f"images{part}" / f"{scan.case}_0000.nii.gz", image, grid)
    files.write_nifti(folder / f"labels{part}" / f"{scan.case}.nii.gz", masks.labels, grid)
    return list_volumes(scan, body, lesions, grid, masks)


def draw_patient(scan: Scan) -> tuple[Body, list[Lesion]]:
    """The patient's body, the same on every day, and the lesions of the scan's day, the largest first."""
    rng = _make_generator(scan.patient.name, 0)
    body = draw_body(rng)
    return body, draw_lesions(rng, scan.patient, body)[scan.day_index]


def draw_grid(rng: np.random.Generator, scan: Scan, body: Body) -> Geometry:
    """A scan's voxels: their spacing, tilt, place and the order and direction of the axes."""
    in_plane_mm = round(rng.uniform(1.8, 2.6), 2)
    between_mm = float(rng.choice([3.0, 3.5, 4.0, 4.5, 5.0]))
    shape = np.array(
        [
            np.clip(round(2 * (body.half_width_mm + 6) / in_plane_mm), 80, 110),
            np.clip(round(2 * (body.half_depth_mm + 14) / in_plane_mm), 70, 100),
            np.clip(round(118 / between_mm), 24, 44),
        ]
    )
    tilted = scan.number % 3 != 0
    turn = _make_rotation(np.radians(rng.uniform(-7, 7, size=3) * tilted))
    matrix = turn @ np.diag([in_plane_mm, in_plane_mm, between_mm])
    middle_mm = np.array([0.0, -6.0, 4.0]) + rng.uniform(-3, 3, size=3)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = middle_mm - matrix @ ((shape - 1) / 2)
    return _orient_grid(Geometry(tuple(shape), affine), scan.orientation)


def voxelise(body: Body, lesions: list[Lesion], grid: Geometry) -> Masks:
    """How much of each voxel organ and lesions cover, and the label map that follows."""
    organ = measure_coverage(body.organ, grid, FINE)
    parts = [measure_coverage(lesion.shape, grid, FINE) for lesion in lesions]
    labels = np.zeros(grid.shape, np.uint8)
    labels[organ > 0.5] = ORGAN
    for part in parts:
        labels[part > 0.5] = TUMOUR
    return Masks(labels, organ, parts)


def render_image(scan: Scan, body: Body, lesions: list[Lesion], grid: Geometry, masks: Masks) -> NDArray[np.int16]:
    """The CT picture, (i, j, k), HU, with partial volume, texture and noise."""
    picture = np.full(grid.shape, AIR_HU, np.float32)
    for tissue in body.surroundings:
        _paint(picture, measure_coverage(tissue.shape, grid, COARSE), tissue.hu)
    _paint(picture, masks.organ, body.organ_hu)
    for vessel in body.vessels:
        _paint(picture, measure_coverage(vessel.shape, grid, COARSE) * masks.organ, vessel.hu)
    for lesion, part in zip(lesions, masks.lesions, strict=True):
        _paint(picture, part, lesion.hu)
        if lesion.core is not None:
            _paint(picture, measure_coverage(lesion.core.shape, grid, COARSE), lesion.core.hu)
    return _add_noise(picture, _make_generator(scan.case, 2), grid)


def list_volumes(scan: Scan, body: Body, lesions: list[Lesion], grid: Geometry, masks: Masks) -> list[dict[str, Any]]:
    """The true volumes of one case: a row for the organ, one for all tumour, one for each lesion.

    Returns:
        ``volume_ml`` from the continuous shapes; ``bound_ml``, which the mask's volume cannot differ by more than: the
        sum of what lies on the wrong side of the mask in each voxel (as sampled), plus by how much the sampled
        volume differs from the continuous one.
    """
    tumour = np.sum(masks.lesions, axis=0, dtype=np.float32) if lesions else np.zeros(grid.shape, np.float32)
    tumour_ml = float(sum(lesion.shape.volume_ml for lesion in lesions))
    organ_ml = body.organ.volume_ml - tumour_ml
    bound_ml = _bound_volume(masks.organ - tumour, masks.labels == ORGAN, organ_ml, grid)
    rows = [_make_row(scan, "organ", 0, "", organ_ml, bound_ml, body.organ.diameter_mm, None)]
    bound_ml = _bound_volume(tumour, masks.labels == TUMOUR, tumour_ml, grid)
    rows.append(_make_row(scan, "tumour", 0, "", tumour_ml, bound_ml, None, None))
    for instance, (lesion, part) in enumerate(zip(lesions, masks.lesions, strict=True), start=1):
        shape = lesion.shape
        bound_ml = _bound_volume(part, part > 0.5, shape.volume_ml, grid)
        rows.append(
            _make_row(
                scan, "tumour", instance, lesion.name, shape.volume_ml, bound_ml, shape.diameter_mm, shape.centroid_mm
            )
        )
    return rows


def _make_row(
    scan: Scan,
    label: str,
    instance: int,
    lesion_id: str,
    volume_ml: float,
    bound_ml: float,
    diameter_mm: float | None,
    centroid_mm: NDArray[np.float64] | None,
) -> dict[str, Any]:
    centroid = [None] * 3 if centroid_mm is None else [round(float(value), 2) for value in centroid_mm]
    return {
        "case": scan.case,
        "patient": scan.patient.name,
        "day": scan.day,
        "label": label,
        "instance": instance,
        "lesion_id": lesion_id,
        "volume_ml": round(volume_ml, 5),
        # Rounded up, so that it stays a bound.
        "bound_ml": float(np.ceil(bound_ml * 1e5 + 1) / 1e5) if volume_ml else 0.0,
        "diameter_3d_mm": None if diameter_mm is None else round(diameter_mm, 2),
        "centroid_x_mm": centroid[0],
        "centroid_y_mm": centroid[1],
        "centroid_z_mm": centroid[2],
    }


def _bound_volume(part: NDArray[np.float32], mask: NDArray[np.bool_], true_ml: float, grid: Geometry) -> float:
    wrong_side_ml = float(np.abs(mask - part).sum(dtype=np.float64)) * grid.voxel_volume_ml
    sampled_ml = float(part.sum(dtype=np.float64)) * grid.voxel_volume_ml
    return wrong_side_ml + abs(sampled_ml - true_ml)


def _draw_fitting_grid(scan: Scan, body: Body, lesions: list[Lesion]) -> tuple[Geometry, Masks]:
    """A grid that holds the whole organ and on which every lesion has voxels, in the order of the true volumes."""
    rng = _make_generator(scan.case, 1)
    for _ in range(50):
        grid = draw_grid(rng, scan, body)
        masks = voxelise(body, lesions, grid)
        counts = [int((part > 0.5).sum()) for part in masks.lesions]
        ordered = counts == sorted(counts, reverse=True) and len(set(counts)) == len(counts)
        if ordered and all(counts) and not _touches_border(masks.organ):
            return grid, masks
    raise RuntimeError(f"{scan.case}: no grid fits")


def _touches_border(part: NDArray[np.float32]) -> bool:
    return any(part.take(end, axis=axis).any() for axis in range(3) for end in (0, -1))


def _paint(picture: NDArray[np.float32], part: NDArray[np.float32], hu: float) -> None:
    picture += part * (np.float32(hu) - picture)


def _add_noise(picture: NDArray[np.float32], rng: np.random.Generator, grid: Geometry) -> NDArray[np.int16]:
    """Uneven tissue, the noise of the scanner (neighbouring voxels share some of it) and rounding, HU."""
    spacing_mm = np.array(grid.spacing_mm)
    dense = np.clip((picture + 1000.0) / 900.0, 0.06, 1.0)  # little noise in air, full noise from fat upwards
    uneven = 4.0 * _smooth_noise(rng, grid.shape, 9.0 / spacing_mm)
    noise = rng.uniform(12, 19) * _smooth_noise(rng, grid.shape, 1.1 / spacing_mm)
    noisy = np.maximum(picture + dense * (uneven + noise), -1000.0)
    return np.asarray(np.rint(noisy / STEP_HU) * STEP_HU).astype(np.int16)


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma_voxels: NDArray[np.float64]
) -> NDArray[np.float64]:
    noise = scipy.ndimage.gaussian_filter(rng.standard_normal(shape), sigma_voxels, mode="wrap")
    return np.asarray(noise / noise.std())


def _orient_grid(grid: Geometry, codes: str) -> Geometry:
    """The same voxels with their axes in the order and direction of ``codes``, such as LPS."""
    wanted = nibabel.orientations.axcodes2ornt(codes)
    current = nibabel.orientations.axcodes2ornt("RAS")
    change = nibabel.orientations.ornt_transform(current, wanted)
    affine = grid.affine @ nibabel.orientations.inv_ornt_aff(change, grid.shape)
    order = np.argsort(change[:, 0])
    return Geometry(tuple(np.array(grid.shape)[order]), affine)


def _make_rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation about x, then y, then z, radians."""
    a, b, c = angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _make_generator(name: str, purpose: int) -> np.random.Generator:
    """Random numbers that belong to a patient or case and a purpose, whatever else is drawn."""
    key = np.frombuffer(name.encode().ljust(16, b"\0")[:16], dtype="<u4")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([SEED, purpose, *map(int, key)])))
