"""Registration finds a known motion, and the transform that is saved is the one that was found."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.core.errors import GeometryError
from medseg.core.volume import Volume
from medseg.measurement.registration import register_scans, write_transform
from tests.phantoms import head_image, lesions, motion, oblique_geometry, still_geometry

SPOTS = [((25, 20, -10), 6), ((-28, 15, 12), 5), ((-10, -38, -6), 4), ((6, 34, 20), 5), ((30, -18, 16), 7)]
CENTRES = np.array([centre for centre, _ in SPOTS])
MOVED = motion((6, -5, 11), (9, -7, 5))
FIRST = oblique_geometry((64, 72, 36), (2, 2, 3), (3, 2, -4), (0, 0, 0))
SECOND = oblique_geometry((72, 76, 44), (1.8, 2.1, 2.6), (0, 5, 0), (8, -6, 4))


def images(geometry, moved, seed):
    still = still_geometry(geometry, moved)
    mask = lesions(still, SPOTS)
    image = head_image(still, mask, seed)
    return Volume(image[None], geometry, ("MR",)), Volume(mask[None].astype(np.float32), geometry, ("mask",))


@pytest.fixture(scope="module")
def pairs():
    return list(zip(images(FIRST, np.eye(4), 0), images(SECOND, MOVED, 1), strict=True))


def largest_error_mm(found):
    whole = found.matrix @ MOVED
    return np.linalg.norm(CENTRES @ whole[:3, :3].T + whole[:3, 3] - CENTRES, axis=1).max()


def test_images(pairs):
    found = register_scans(*pairs[0])
    # Half a voxel of the coarser grid, within which nearest-voxel look-ups do not change.
    assert largest_error_mm(found) < 1.0
    assert found.after < found.before
    assert np.allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-6)


def test_masks_alone(pairs):
    assert largest_error_mm(register_scans(*pairs[1], metric="correlation")) < 1.0


def test_affine_fits_a_stretched_head_better_than_rigid(pairs):
    stretch = np.diag([1.06, 0.95, 1.0, 1.0])
    first = pairs[0][0]
    second, _ = images(SECOND, stretch @ MOVED, 2)
    rigid, affine = (register_scans(first, second, kind=kind) for kind in ("rigid", "affine"))
    assert affine.after < 1.1 * rigid.after  # lower is better, both are negative


def test_it_is_the_same_each_time(pairs):
    first, second = (register_scans(*pairs[1], metric="correlation") for _ in range(2))
    assert (first.matrix == second.matrix).all()


def test_constant_image_is_refused(pairs):
    blank = Volume(np.zeros((1, *FIRST.shape), np.float32), FIRST, ("MR",))
    with pytest.raises(GeometryError, match="constant"):
        register_scans(blank, pairs[0][1])


def test_saved_transform_maps_the_first_scan_to_the_other_in_lps(tmp_path):
    import SimpleITK

    write_transform(tmp_path / "case.tfm", np.linalg.inv(MOVED))
    transform = SimpleITK.ReadTransform(str(tmp_path / "case.tfm"))
    turn = np.array([-1, -1, 1])
    for centre in CENTRES.astype(float):
        there = np.array(transform.TransformPoint((centre * turn).tolist())) * turn
        assert there == pytest.approx(MOVED[:3, :3] @ centre + MOVED[:3, 3])
    assert [path.name for path in tmp_path.iterdir()] == ["case.tfm"]
