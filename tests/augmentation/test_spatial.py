"""Rotation, scaling and flips against numpy and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medseg.augmentation import Scene, enlarge_patch
from medseg.augmentation.mirror import apply_flips, draw_flips
from medseg.augmentation.spatial import SCALE_RANGE, Transform, apply_transform, draw_transform
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
    transform = Transform(turn(len(size), *plane, quarters), size)
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
        torch.from_numpy(image)[None, None], torch.zeros(1, *read, dtype=torch.uint8), [Transform(matrix, size)]
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
    identity = Transform(np.eye(len(scene.patch_size)), scene.patch_size)
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
    _, labels = apply_transform(torch.zeros(1, 1, *size), ball, [Transform(np.eye(3) * 0.8, size)])
    assert float(labels.sum()) == pytest.approx(int((distance < 8).sum()) / 0.8**3, rel=0.02)
    assert (labels[0].numpy()[distance > 10.9] == 0).all()
    assert (labels[0].numpy()[distance < 9.1] == 1).all()


def test_drawn_matrices_are_rotations_with_a_scale_in_range() -> None:
    for kind in ("3d", "flat", "2d"):
        scene = make_scene(kind)
        drawn = [draw_transform(rng, scene).matrix for rng in make_generators(300)]
        scales = (
            [abs(np.linalg.det(matrix[-2:, -2:])) ** 0.5 for matrix in drawn]
            if kind != "3d"
            else [np.linalg.det(matrix) ** (1 / 3) for matrix in drawn]
        )
        assert SCALE_RANGE[0] <= min(scales) < 0.8
        assert 1.3 < max(scales) <= SCALE_RANGE[1]
        unchanged = sum(np.array_equal(matrix, np.eye(len(matrix))) for matrix in drawn)
        assert 0.55 < unchanged / len(drawn) < 0.73  # 0.8 times 0.8
        if kind == "flat":
            assert all(
                np.array_equal(matrix[0], (1, 0, 0)) and np.array_equal(matrix[:, 0], (1, 0, 0)) for matrix in drawn
            )


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_flips_equal_numpy_and_twice_is_nothing(axes: tuple[int, ...]) -> None:
    images, labels = make_batch(make_scene("3d"), count=2, enlarged=False)
    parameters = [axes, None]
    flipped, flipped_labels = apply_flips(images.clone(), labels.clone(), parameters)
    assert np.array_equal(flipped[0].numpy(), np.flip(images[0].numpy(), [axis + 1 for axis in axes]))
    assert np.array_equal(flipped_labels[0].numpy(), np.flip(labels[0].numpy(), axes))
    assert torch.equal(flipped[1], images[1])
    again, again_labels = apply_flips(flipped, flipped_labels, parameters)
    assert torch.equal(again, images)
    assert torch.equal(again_labels, labels)


def test_flips_keep_to_their_axes() -> None:
    drawn = [draw_flips(rng, Scene((8, 8, 8), 1, False, (0, 2))) for rng in make_generators(200)]
    assert {axis for axes in drawn for axis in axes or ()} == {0, 2}
    assert set(drawn) == {None, (0,), (2,), (0, 2)}
    assert all(draw_flips(rng, Scene((8, 8, 8), 1, False, ())) is None for rng in make_generators(20))
