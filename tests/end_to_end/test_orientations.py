"""One asymmetric patient stored in each of 48 orientations: the same volumes, and left stays left."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.results import Measurement, Score, read_rows
from medseg.core.volume import Segmentation
from medseg.io.write import write_segmentation
from tests.end_to_end.command_line import medseg
from tests.phantoms import oblique_geometry

LAYOUTS = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))
# RAS+: left is below 0.
CENTRES_MM = {"left": (-14.0, 6.0, -9.0), "right": (12.0, -10.0, 7.0)}
RADII_MM = {"left": 9.0, "right": 6.0}
LABELS = "left=1,right=2"


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    geometry = oblique_geometry((44, 38, 22), (1.1, 1.3, 2.1), centre_mm=(0.0, 0.0, 0.0))
    world = geometry.to_world(np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1))
    array = np.zeros(geometry.shape, np.uint8)
    for value, name in enumerate(CENTRES_MM, start=1):
        array[np.linalg.norm(world - CENTRES_MM[name], axis=-1) < RADII_MM[name]] = value
    folder = tmp_path_factory.mktemp("orientations")
    (folder / "stored").mkdir()
    (folder / "first").mkdir()
    for number, (order, flips) in enumerate(LAYOUTS):
        turned = store(array, geometry, order, flips)
        write_segmentation(folder / "stored" / f"layout_{number:02d}.nii.gz", turned)
        write_segmentation(folder / "first" / f"layout_{number:02d}.nii.gz", Segmentation(array, geometry))
    return folder


def store(array: np.ndarray, geometry: Geometry, order: tuple[int, ...], flips: tuple[bool, ...]) -> Segmentation:
    """The same voxels with other axes; where each lies in the world is worked out from its corner."""
    turned = array.transpose(order)
    matrix, corner = geometry.affine[:3, :3][:, list(order)], np.zeros(3)
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            corner[order[axis]] = array.shape[order[axis]] - 1
            matrix[:, axis] *= -1
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, geometry.to_world(corner)
    return Segmentation(np.ascontiguousarray(turned), Geometry(turned.shape, affine))


def test_volumes_and_sides_are_the_same_in_all(masks: Path, tmp_path: Path) -> None:
    ended = medseg("measure", masks / "stored", "--output", tmp_path, "--labels", LABELS)
    assert ended.code == 0, ended.lines
    rows = read_rows(tmp_path / "measurements.csv", Measurement)
    assert len({row.case for row in rows}) == 48
    for name, centre_mm in CENTRES_MM.items():
        table = {
            quantity: np.array(
                [row.value for row in rows if (row.label, row.quantity, row.instance) == (name, quantity, 0)]
            )
            for quantity in ("volume_ml", "volume_mesh_ml", "surface_mm2", "diameter_3d_mm", "centroid_x_mm")
        }
        for quantity, values in table.items():
            assert len(values) == 48, quantity
            np.testing.assert_allclose(values, values[0], rtol=1e-6, atol=1e-4 if "mm" in quantity else 0)
        assert table["volume_ml"][0] == pytest.approx(4 / 3 * np.pi * RADII_MM[name] ** 3 / 1000, rel=0.05)
        assert table["centroid_x_mm"][0] == pytest.approx(centre_mm[0], abs=0.3)


def test_scores_hold_whatever_layout_the_reference_has(masks: Path, tmp_path: Path) -> None:
    ended = medseg("evaluate", masks / "stored", masks / "first", "--output", tmp_path, "--labels", LABELS)
    assert ended.code == 0, ended.lines
    dice = [
        row.value for row in read_rows(tmp_path / "scores.csv", Score) if row.metric == "dice" and row.instance == 0
    ]
    assert dice == [1.0] * 96
