"""Registration finds a known motion, says when it is in doubt, and saves what others can read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids.registration import read_transform, register_scans, write_transform
from medseg.io import read_image
from tests.phantoms import head_image, lesions, motion, oblique_geometry, still_geometry

SPOTS = [((25, 20, -10), 6), ((-28, 15, 12), 5), ((-10, -38, -6), 4), ((6, 34, 20), 5), ((30, -18, 16), 7)]
CENTRES = np.array([centre for centre, _ in SPOTS])
MOVED = motion((6, -5, 11), (9, -7, 5))
FIRST = oblique_geometry((64, 72, 36), (2, 2, 3), (3, 2, -4), (0, 0, 0))
SECOND = oblique_geometry((72, 76, 44), (1.8, 2.1, 2.6), (0, 5, 0), (8, -6, 4))


def draw(geometry, moved, seed):
    """The head's image and its lesions' mask after a motion."""
    still = still_geometry(geometry, moved)
    mask = lesions(still, SPOTS)
    image = head_image(still, mask, seed)
    return Volume(image[None], geometry, ("MR",)), Volume(mask[None].astype(np.float32), geometry, ("mask",))


def with_other_contrast(volume):
    """As another modality shows it: air stays dark, what was bright is dark, two metal voxels outshine everything."""
    array = (150 - volume.array) * (volume.array > 20) * 3.0
    array[0, 3, 3, 3], array[0, 5, 5, 5] = 30_000, -3_000
    return Volume(array.astype(np.float32), volume.geometry, ("CT",))


@pytest.fixture(scope="module")
def pairs():
    return list(zip(draw(FIRST, np.eye(4), 0), draw(SECOND, MOVED, 1), strict=True))


def largest_error_mm(found, moved=MOVED):
    whole = found.matrix @ moved
    return np.linalg.norm(CENTRES @ whole[:3, :3].T + whole[:3, 3] - CENTRES, axis=1).max()


def test_images(pairs):
    found = register_scans(*pairs[0])
    # Half a voxel of the coarser grid, within which nearest-voxel look-ups do not change.
    assert largest_error_mm(found) < 1.0
    assert found.after < found.before
    assert np.allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-6)
    assert found.stretch == pytest.approx((1, 1), abs=1e-6)
    cosine = (np.trace(MOVED[:3, :3]) - 1) / 2
    assert found.turn_degrees == pytest.approx(np.degrees(np.arccos(cosine)), abs=1)
    assert found.shared > 0.8
    assert found.warnings == ()


def test_images_of_two_modalities_with_metal(pairs):
    first, second = pairs[0]
    assert largest_error_mm(register_scans(first, with_other_contrast(second))) < 1.5


def test_masks_alone(pairs):
    assert largest_error_mm(register_scans(*pairs[1], metric="correlation")) < 1.0


STRETCH = np.eye(4)
STRETCH[:3, :3] = [[1.04, 0.02, 0], [0.01, 0.97, -0.03], [0, 0, 1.03]]


def test_affine_fits_a_stretched_and_sheared_head_better_than_rigid(pairs):
    # The drawn head is so nearly an ellipsoid that turning and stretching may stand for one another; the real one below
    # leaves no such choice.
    first = pairs[0][0]
    second = draw(SECOND, STRETCH @ MOVED, 2)[0]
    rigid, affine = (register_scans(first, second, kind=kind) for kind in ("rigid", "affine"))
    assert affine.kind == "affine"
    assert affine.after < rigid.after
    assert 0.9 < affine.stretch[0] < affine.stretch[1] < 1.1


@pytest.mark.slow
@pytest.mark.skipif("MEDSEG_TEST_DATA" not in os.environ, reason="MEDSEG_TEST_DATA is not set")
def test_affine_of_a_real_head_to_a_millimetre():
    folder = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "ms_longitudinal" / "patient12"
    first, second = (read_image(folder / f"study{n}_FLAIR.nii.gz") for n in (1, 2))
    whole = STRETCH @ MOVED
    moved = Volume(second.array, Geometry(second.geometry.shape, whole @ second.geometry.affine), second.channels)
    found = register_scans(first, moved, kind="affine")
    assert found.kind == "affine"
    # The pair lies in one space to begin with; points over all of the head.
    corners = np.array([[x, y, z] for x in (0.2, 0.8) for y in (0.2, 0.8) for z in (0.2, 0.8)])
    points = first.geometry.to_world(corners * first.geometry.shape)
    back = found.matrix @ whole
    assert np.linalg.norm(points @ back[:3, :3].T + back[:3, 3] - points, axis=1).max() < 1.5


def test_affine_does_no_harm_where_the_patient_only_moved(pairs):
    found = register_scans(*pairs[0], kind="affine")
    assert found.kind == "rigid"
    assert "hardly better" in found.warnings[0]
    assert largest_error_mm(found) < 1.0


def test_scanners_with_origins_far_apart(pairs):
    first, second = pairs[0]
    away = motion((0, 0, 0), (400, -900, 1500))
    moved = Volume(second.array, Geometry(second.geometry.shape, away @ second.geometry.affine), second.channels)
    found = register_scans(first, moved)
    assert np.isinf(found.before)
    assert largest_error_mm(found, away @ MOVED) < 1.0


def test_part_of_the_head_alone(pairs):
    first, second = pairs[0]
    part = Volume(second.array[..., 22:], Geometry((72, 76, 22), _shifted(second.geometry, 22)), second.channels)
    assert largest_error_mm(register_scans(first, part)) < 3.0  # fewer landmarks than in the whole head


def _shifted(geometry, slices):
    affine = geometry.affine.copy()
    affine[:3, 3] = geometry.to_world(np.array([0, 0, slices]))
    return affine


def test_what_cannot_be_bettered_stays_as_it_is(pairs):
    first = pairs[0][0]
    found = register_scans(first, first)
    assert largest_error_mm(found, np.eye(4)) < 0.2


def test_it_is_the_same_each_time(pairs):
    first, second = (register_scans(*pairs[1], metric="correlation") for _ in range(2))
    assert (first.matrix == second.matrix).all()


def test_what_cannot_be_registered_is_refused(pairs):
    blank = Volume(np.zeros((1, *FIRST.shape), np.float32), FIRST, ("MR",))
    with pytest.raises(GeometryError, match="constant"):
        register_scans(blank, pairs[0][1])
    slice_ = Volume(pairs[0][0].array[..., :1], Geometry.from_spacing((64, 72, 1), (1, 1, 1)), ("MR",))
    with pytest.raises(GeometryError, match="too thin"):
        register_scans(pairs[0][0], slice_)


def test_whole_numbers_on_grids_along_the_world(pairs):
    # As CT comes: neither grid is oblique, one of them need not be resampled.
    grids = [Geometry.from_spacing((64, 72, 48), (2, 2, 2)), Geometry.from_spacing((60, 70, 30), (2.2, 2.1, 3.5))]
    shifts = [motion((0, 0, 0), tuple(centre)) for centre in ((63, 71, 47), (65, 72, 51))]
    volumes = []
    for number, (geometry, shift, moved) in enumerate(zip(grids, shifts, (np.eye(4), MOVED), strict=True)):
        image = draw(geometry, shift @ moved, number)[0].array.astype(np.int16)
        volumes.append(Volume(image, geometry, ("CT",)))
    # Points at rest lie at shift @ moved in either scan.
    whole = register_scans(*volumes).matrix @ shifts[1] @ MOVED
    there = CENTRES @ shifts[0][:3, :3].T + shifts[0][:3, 3]
    assert np.linalg.norm(CENTRES @ whole[:3, :3].T + whole[:3, 3] - there, axis=1).max() < 1.2


def test_voxels_without_a_value_do_not_matter(pairs):
    first, second = pairs[0]
    array = second.array.copy()
    array[0, :4] = np.nan
    found = register_scans(first, Volume(array, second.geometry, second.channels))
    assert largest_error_mm(found) < 1.0


def test_saved_transform_maps_the_first_scan_to_the_other_in_lps(tmp_path):
    import SimpleITK

    write_transform(tmp_path / "case.tfm", np.linalg.inv(MOVED))
    transform = SimpleITK.ReadTransform(str(tmp_path / "case.tfm"))
    turn = np.array([-1, -1, 1])
    for centre in CENTRES.astype(float):
        there = np.array(transform.TransformPoint((centre * turn).tolist())) * turn
        assert there == pytest.approx(MOVED[:3, :3] @ centre + MOVED[:3, 3])
    assert [path.name for path in tmp_path.iterdir()] == ["case.tfm"]


def test_transforms_are_read_back(tmp_path):
    import SimpleITK

    matrix = np.linalg.inv(MOVED) @ np.diag([1.03, 0.98, 1.01, 1])
    write_transform(tmp_path / "case.tfm", matrix)
    assert np.allclose(read_transform(tmp_path / "case.tfm"), matrix, rtol=0, atol=1e-12)
    euler = SimpleITK.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.3, (4, 5, 6))
    SimpleITK.WriteTransform(euler, str(tmp_path / "other.txt"))
    found = read_transform(tmp_path / "other.txt")
    turn = np.array([-1, -1, 1])
    point = np.array([10.0, -20.0, 30.0])
    there = np.array(euler.TransformPoint((point * turn).tolist())) * turn
    assert found[:3, :3] @ there + found[:3, 3] == pytest.approx(point)


@pytest.mark.parametrize("content", [b"", b"#Insight Transform File V1.0\nTransform: No\n", None])
def test_damaged_transforms_are_refused(tmp_path, content):
    path = tmp_path / "case.tfm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match="does not exist" if content is None else "no transform") as caught:
        read_transform(path)
    assert caught.value.remedy
