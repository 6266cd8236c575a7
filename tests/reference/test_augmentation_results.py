"""What nnU-Net 2.8's augmentation (batchgeneratorsv2) does to image and labels, and that medseg does the same with the
same parameters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

pytest.importorskip("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", reason="nnunetv2 (bench group) is not installed")

from batchgeneratorsv2.transforms.nnunet.random_binary_operator import (
    binary_closing_torch,
    binary_dilation_torch,
    binary_erosion_torch,
    binary_opening_torch,
)
from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension
from batchgeneratorsv2.transforms.spatial.spatial import (
    SpatialTransform,
    create_affine_matrix_2d,
    create_affine_matrix_3d,
)

from medseg.augmentation import blur, brightness, contrast, gamma, low_resolution, masking, mirror, noise, previous
from medseg.augmentation.resample import View, resample_in_torch, resample_views
from medseg.augmentation.spatial import Transform, apply_transform, make_matrix
from tests.reference.nnunet_transforms import (
    LABELS,
    PATCHES,
    assert_alike,
    draw_peer,
    draw_sample,
    find,
    make_peer,
    name_of,
)


@pytest.mark.parametrize("kind", list(PATCHES))
@pytest.mark.parametrize("resample", [resample_views, resample_in_torch])
def test_rotation_and_scaling_do_the_same(
    kind: str, resample: Callable[..., list[tuple[torch.Tensor, torch.Tensor]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.augmentation.spatial.resample_views", resample)
    peer, (image, labels) = find(kind, "SpatialTransform"), draw_sample(kind)
    drawn = [parameters for parameters in draw_peer(peer, kind, count=60) if parameters["affine"] is not None]
    assert len(drawn) > 10
    equal = []
    for parameters in drawn:
        given = (image, labels[None]) if kind != "flat" else (image.flatten(0, 1), labels)
        expected = peer._apply_to_image(given[0], **parameters).reshape(image.shape)
        expected_labels = peer._apply_to_segmentation(given[1], **parameters).reshape(labels.shape)
        transform = Transform(parameters["affine"], PATCHES[kind], 2, beyond=-1)
        moved, moved_labels = apply_transform(image[None], labels[None], [transform])
        np.testing.assert_allclose(moved[0].numpy(), expected.numpy(), atol=1e-4)
        equal.append(float((moved_labels[0] == expected_labels).float().mean()))
    assert min(equal) > 0.99  # theirs compares weights in float16
    assert np.mean(equal) > 0.999


def test_matrices_are_made_alike() -> None:
    np.testing.assert_allclose(make_matrix([0.1, -0.2, 0.3], 1.2), create_affine_matrix_3d([0.1, -0.2, 0.3], [1.2] * 3))
    np.testing.assert_allclose(make_matrix([0.4], 0.8), create_affine_matrix_2d(0.4, [0.8] * 2))


@pytest.mark.parametrize("kind", ["3d", "square"])
def test_deformation_does_the_same(kind: str) -> None:
    size = PATCHES[kind]
    peer = SpatialTransform(
        size, 0, False, p_elastic_deform=1, elastic_deform_scale=(0.1, 0.25), elastic_deform_magnitude=(1, 2),
        p_rotation=1, rotation=(-0.5, 0.5), border_mode_seg="constant", padding_value_seg=-1,
    )  # fmt: skip
    image, labels = draw_sample(kind)
    for parameters in draw_peer(peer, kind, count=5):
        offsets = parameters["elastic_offsets"].movedim(-1, 0).float()
        offsets = offsets - offsets.mean(dim=tuple(range(1, offsets.ndim)), keepdim=True)
        ((moved, moved_labels),) = resample_views(
            [View(image, labels[None], parameters["affine"], offsets)], size, beyond=-1
        )
        np.testing.assert_allclose(moved.numpy(), peer._apply_to_image(image, **parameters).numpy(), atol=2e-4)
        same = moved_labels == peer._apply_to_segmentation(labels[None], **parameters)
        assert float(same.float().mean()) > 0.99


@pytest.mark.parametrize("kind", ["3d", "flat", "square"])
def test_blur_does_the_same(kind: str) -> None:
    peer = find(kind, "GaussianBlurTransform")
    for number, parameters in enumerate(draw_peer(peer, kind, count=12)):
        image, _ = draw_sample(kind, seed=number)
        sigmas = np.zeros((2, len(PATCHES[kind])))
        sigmas[parameters["apply_to_channel"].numpy()] = np.reshape(parameters["sigmas"], (-1, sigmas.shape[1]))
        own, _ = blur.apply_blur(image.clone()[None], LABELS, [sigmas])
        expected = image.clone()
        for channel in np.flatnonzero(parameters["apply_to_channel"]):
            for axis, sigma in enumerate(sigmas[channel]):
                expected[channel : channel + 1] = blur_dimension(expected[channel : channel + 1], sigma, axis)
        np.testing.assert_allclose(own[0].numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["3d", "square"])
def test_brightness_and_contrast_do_the_same(kind: str) -> None:
    image, _ = draw_sample(kind)
    for peer, apply in (
        (find(kind, "MultiplicativeBrightnessTransform"), brightness.apply_brightness),
        (find(kind, "ContrastTransform"), contrast.apply_contrast),
    ):
        for parameters in draw_peer(peer, kind, count=5):
            own, _ = apply(image.clone()[None], LABELS, [tuple(parameters["multipliers"].tolist())])
            expected = peer._apply_to_image(image.clone(), **parameters)
            np.testing.assert_allclose(own[0].numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("inverted", [True, False])
def test_gamma_does_the_same(inverted: bool) -> None:
    image, _ = draw_sample("3d")
    image[1] = 3.0  # a constant channel
    peers = [transform for transform in make_peer("3d") if name_of(transform) == "GammaTransform"]
    peer = peers[0 if inverted else 1].transform  # type: ignore[attr-defined]
    apply = gamma.apply_inverted_gamma if inverted else gamma.apply_gamma
    for parameters in draw_peer(peer, "3d", count=8):
        assert bool(parameters["invert_image"].all()) is inverted
        own, _ = apply(image.clone()[None], LABELS, [tuple(parameters["gamma"].tolist())])
        expected = peer._apply_to_image(image.clone(), **parameters)
        np.testing.assert_allclose(own[0].numpy(), expected.numpy(), atol=5e-5)


@pytest.mark.parametrize("kind", ["3d", "flat", "square"])
def test_low_resolution_does_the_same(kind: str) -> None:
    peer, (image, _) = find(kind, "SimulateLowResolutionTransform"), draw_sample(kind)
    for parameters in draw_peer(peer, kind, count=12):
        factors = np.ones(2)
        for channel, scale in zip(parameters["apply_to_channel"], parameters["scales"], strict=True):
            factors[channel] = float(scale[-1])
        zoom = low_resolution.Zoom(tuple(factors), int(kind == "flat"))
        own, _ = low_resolution.apply_zoom(image.clone()[None], LABELS, [zoom])
        np.testing.assert_allclose(own[0].numpy(), peer._apply_to_image(image.clone(), **parameters).numpy(), atol=1e-5)


def test_noise_does_the_same() -> None:
    peer = find("3d", "GaussianNoiseTransform")
    flat = torch.zeros(2, 40, 40, 40)
    torch.manual_seed(0)
    parameters = {**peer.get_parameters(image=flat), "sigmas": 0.07}
    expected = peer._apply_to_image(flat.clone(), **parameters)
    own, _ = noise.apply_noise(flat.clone()[None], LABELS, [noise.Noise(0.07, 3, 2)])
    for ours, theirs in zip(own[0], expected, strict=True):
        assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.02)
        assert_alike(ours[::4, ::4, ::4], theirs[::4, ::4, ::4])


def test_flips_and_the_outside_do_the_same() -> None:
    image, labels = draw_sample("3d")
    peer = find("3d", "MirrorTransform")
    own, own_labels = mirror.apply_flips(image.clone()[None], labels.clone()[None], [mirror.Flips((0, 2))])
    assert torch.equal(own[0], peer._apply_to_image(image, axes=[0, 2]))
    assert torch.equal(own_labels[0], peer._apply_to_segmentation(labels[None], axes=[0, 2])[0])
    steps = make_peer("3d", use_mask_for_norm=[True, False])
    mask, remove = (
        next(step for step in steps if name_of(step) == name) for name in ("MaskImageTransform", "RemoveLabelTransform")
    )
    marked = labels - 1
    given = mask(image=image.clone(), segmentation=marked.clone()[None])  # type: ignore[operator]
    expected = remove(**given)  # type: ignore[operator]
    cleared = image.clone()[None]
    after = masking.clear_outside(cleared, marked.clone()[None], (0,))
    assert torch.equal(cleared[0], expected["image"])
    assert torch.equal(after[0], expected["segmentation"][0])


@pytest.mark.parametrize("kind", ["3d", "square"])
@pytest.mark.parametrize("radius", [1, 2, 4])
def test_whole_radii_change_masks_alike(kind: str, radius: int) -> None:
    _, labels = draw_sample(kind)
    masks = torch.stack([labels == value for value in (1, 2, 3)]).float()
    peer = find(kind, "ApplyRandomBinaryOperatorTransform", is_cascaded=True, foreground_labels=[1, 2, 3])
    peer.channel_idx = [0, 1, 2]
    operators = (
        (binary_dilation_torch, "dilate"),
        (binary_erosion_torch, "erode"),
        (binary_closing_torch, "close"),
        (binary_opening_torch, "open"),
    )
    for operator, name in operators:
        drawn = {"apply_to_channels": [1, 0], "operators": [operator] * 2, "strel_size": [radius] * 2}
        expected = peer._apply_to_image(masks.clone(), **drawn)
        changes = tuple(previous.Change(channel, name, float(radius)) for channel in (1, 0))
        own, _ = previous.apply_changes(masks.clone()[None], LABELS, [previous.Changes(changes, (0, 3))])
        assert torch.equal(own[0], expected)


def test_one_component_of_the_same_is_removed() -> None:
    mask = torch.zeros(1, 20, 20, 20)
    mask[0, :10], mask[0, 12:14, 2:4, 2:4], mask[0, 16, 5, 5], mask[0, 18, 10, 10] = 1, 1, 1, 1
    peer = find(
        "3d", "RemoveRandomConnectedComponentFromOneHotEncodingTransform", is_cascaded=True, foreground_labels=[1]
    )
    np.random.seed(0)
    theirs = {int(peer._apply_to_image(mask.clone(), apply_to_channels=[0]).sum()) for _ in range(40)}
    places = (0.1, 0.5, 0.9)
    own = [previous.apply_removals(mask.clone()[None], LABELS, [(previous.Removal(0, p),)])[0] for p in places]
    assert {int(image.sum()) for image in own} == theirs
