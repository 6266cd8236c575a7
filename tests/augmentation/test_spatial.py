"""Rotation and scaling against numpy and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medseg.augmentation import Scene, enlarge_patch
from medseg.augmentation.spatial import SCALE_RANGE, Transform, apply_transform, draw_transform, make_matrix
from tests.augmentation.examples import VALUES, make_batch, make_generators, make_scene


def turn(axes: int, first: int, second: int, quarters: int) -> np.ndarray:
    """The exact rotation by quarter turns that takes output voxels to input voxels, as ``np.rot90`` does."""
    matrix = np.eye(axes)
    for _ in range(quarters):
        step = np.eye(axes)
        step[first, first] = step[second, second] = 0
        step[first, second], step[second, first] = 1, -1
        matrix = step @ matrix
    return matrix


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "plane"), [((9, 9), (0, 1)), ((5, 8, 8), (1, 2)), ((8, 8, 8), (0, 2)), ((7, 7, 4), (0, 1))]
)
def test_quarter_turns_equal_rot90(size: tuple[int, ...], plane: tuple[int, int], quarters: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 2, *size)).astype(np.float32)
    labels = rng.choice(np.array(VALUES, np.uint8), size=(1, *size))
    transform = Transform(turn(len(size), *plane, quarters), size, 2)
    turned, turned_labels = apply_transform(torch.from_numpy(image), torch.from_numpy(labels), [transform])
    expected = np.rot90(image[0], quarters, [axis + 1 for axis in plane])
    np.testing.assert_allclose(turned[0].numpy(), expected, atol=1e-5)
    assert np.array_equal(turned_labels[0].numpy(), np.rot90(labels[0], quarters, plane))


@pytest.mark.parametrize("size", [(12, 15), (6, 10, 9)])
def test_any_matrix_equals_scipy(size: tuple[int, ...]) -> None:
    axes = len(size)
    read = enlarge_patch(size, flat_rotation=False)
    rng = np.random.default_rng(1)
    image = rng.normal(size=read).astype(np.float32)
    matrix = np.eye(axes) * 0.9 + rng.normal(size=(axes, axes)) * 0.1
    turned, _ = apply_transform(
        torch.from_numpy(image)[None, None], torch.zeros(1, *read, dtype=torch.uint8), [Transform(matrix, size, 1)]
    )
    middle_in, middle_out = (np.array(read) - 1) / 2, (np.array(size) - 1) / 2
    expected = ndimage.affine_transform(
        image, matrix, middle_in - matrix @ middle_out, output_shape=size, order=1, mode="constant"
    )
    inner = tuple(slice(2, -2) for _ in size)  # at the rim scipy and torch fade out differently
    np.testing.assert_allclose(turned[0, 0].numpy()[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("kind", ["3d", "flat", "2d"])
def test_identity_cuts_out_the_centre(kind: str) -> None:
    scene = make_scene(kind)
    images, labels = make_batch(scene, count=2)
    identity = Transform(np.eye(len(scene.patch_size)), scene.patch_size, scene.channels)
    cut, cut_labels = apply_transform(images, labels, [identity] * 2)
    box = tuple(
        slice((big - small) // 2, (big - small) // 2 + small)
        for big, small in zip(images.shape[2:], scene.patch_size, strict=True)
    )
    assert torch.equal(cut, images[:, :, *box])
    assert torch.equal(cut_labels, labels[:, *box])


@given(st.lists(st.integers(1, 200), min_size=2, max_size=3), st.booleans())
def test_the_enlarged_patch_has_the_same_centre(patch: list[int], flat: bool) -> None:
    grown = enlarge_patch(patch, flat_rotation=flat)
    assert all(big >= small and (big - small) % 2 == 0 for big, small in zip(grown, patch, strict=True))
    assert all(big == 1 for big, small in zip(grown, patch, strict=True) if small == 1)
    assert not flat or grown[0] == patch[0]


def test_scaling_keeps_a_ball_round_and_scales_its_volume() -> None:
    size = (32, 32, 32)
    distance = np.sqrt(((np.moveaxis(np.indices(size), 0, -1) - 15.5) ** 2).sum(-1))
    ball = torch.from_numpy((distance < 8).astype(np.uint8))[None]
    _, labels = apply_transform(torch.zeros(1, 1, *size), ball, [Transform(np.eye(3) * 0.8, size, 1)])
    assert float(labels.sum()) == pytest.approx(int((distance < 8).sum()) / 0.8**3, rel=0.03)
    assert (labels[0].numpy()[distance > 10.9] == 0).all()
    assert (labels[0].numpy()[distance < 9.1] == 1).all()


def test_drawn_matrices_are_rotations_with_a_scale_in_range() -> None:
    for kind, axes in (("3d", 3), ("flat", 2), ("2d", 2)):
        scene = make_scene(kind)
        drawn = [draw_transform(rng, scene).matrix for rng in make_generators(300)]
        assert all(matrix.shape == (axes, axes) for matrix in drawn)
        scales = [np.linalg.det(matrix) ** (1 / axes) for matrix in drawn]
        assert SCALE_RANGE[0] <= min(scales) < 0.8
        assert 1.3 < max(scales) <= SCALE_RANGE[1]
        for matrix, scale in zip(drawn, scales, strict=True):
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(axes) * scale**2, atol=1e-9)
        unchanged = sum(np.array_equal(matrix, np.eye(axes)) for matrix in drawn)
        assert 0.55 < unchanged / len(drawn) < 0.73  # 0.8 times 0.8


@pytest.mark.parametrize(
    ("scene", "degrees"),
    [
        (Scene((8, 8, 8), 1, False, ()), 30),
        (Scene((2, 8, 8), 1, True, ()), 180),
        (Scene((8, 12), 1, False, ()), 180),
        (Scene((8, 13), 1, False, ()), 15),
    ],
)
def test_angles_go_up_to_their_limit(scene: Scene, degrees: float) -> None:
    drawn = [draw_transform(rng, scene).matrix for rng in make_generators(1500)]
    if len(drawn[0]) == 2:
        angles = [np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])) for matrix in drawn]
    else:  # the third rotation is the outermost: what it does to the first axis stands in the first column
        angles = [-np.rad2deg(np.arcsin(matrix[2, 0] / np.linalg.det(matrix) ** (1 / 3))) for matrix in drawn]
    assert max(np.abs(angles)) <= degrees + 1e-9
    assert max(angles) > 0.93 * degrees
    assert min(angles) < -0.93 * degrees


def test_a_flat_patch_moves_slice_by_slice() -> None:
    scene = make_scene("flat")
    images, labels = make_batch(scene, count=1)
    transform = Transform(make_matrix([0.5], 1.2), scene.patch_size, scene.channels)
    whole, whole_labels = apply_transform(images, labels, [transform])
    for number in range(scene.patch_size[0]):
        one = Transform(transform.matrix, scene.patch_size[1:], scene.channels)
        single, single_label = apply_transform(images[:, :, number], labels[:, number], [one])
        assert torch.equal(whole[:, :, number], single)
        assert torch.equal(whole_labels[:, number], single_label)


def test_masks_of_the_stage_before_move_as_labels_do() -> None:
    scene = make_scene("3d", previous=True)
    images, _ = make_batch(scene, count=2)
    masks = images[:, scene.channels :]
    labels = sum(masks[:, n] * value for n, value in enumerate(scene.previous_values))
    transform = Transform(make_matrix([0.2, -0.3, 0.4], 1.1), scene.patch_size, scene.channels)
    moved, moved_labels = apply_transform(images, labels.to(torch.uint8), [transform] * 2)
    for number, value in enumerate(scene.previous_values):
        assert torch.equal(moved[:, scene.channels + number] == 1, moved_labels == value)
        assert (moved_labels == value).any()
