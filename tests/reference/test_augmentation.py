"""Augmentation against the list that nnU-Net 2.8 trains with (batchgeneratorsv2).

Drawn parameters have the same distribution, and the same parameters do the same to image and labels.
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

trainer = pytest.importorskip(
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer", reason="nnunetv2 (bench group) is not installed"
)

from batchgeneratorsv2.transforms.nnunet.random_binary_operator import (  # noqa: E402
    binary_closing_torch,
    binary_dilation_torch,
    binary_erosion_torch,
    binary_opening_torch,
)
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform  # noqa: E402

from medseg.augmentation import (  # noqa: E402
    AUGMENTATIONS,
    DEFAULT_AUGMENTATIONS,
    Scene,
    blur,
    brightness,
    contrast,
    gamma,
    low_resolution,
    masking,
    mirror,
    noise,
    previous,
)
from medseg.augmentation.resample import View, resample_in_torch, resample_views  # noqa: E402
from medseg.augmentation.spatial import SCALE_RANGE, Transform, apply_transform, make_matrix  # noqa: E402
from tests.augmentation.examples import make_generators  # noqa: E402

PATCHES = {"3d": (12, 16, 14), "flat": (4, 20, 16), "square": (16, 18), "long": (12, 20)}
DRAWS = 3000
SURE = 1e-4  # so improbable that two samples of one distribution differ as much
LABELS = torch.zeros(1, 1, dtype=torch.uint8)


def make_scene(kind: str, channels: int = 2, previous_values: tuple[int, ...] = ()) -> Scene:
    patch = PATCHES[kind]
    return Scene(patch, channels, kind == "flat", tuple(range(len(patch))), previous_values=previous_values)


def make_peer(kind: str, **options: object) -> list[object]:
    """nnU-Net's transforms for a patch, with the rotation that its trainer chooses."""
    told = SimpleNamespace(configuration_manager=SimpleNamespace(patch_size=PATCHES[kind]), print_to_log_file=print)
    choose = trainer.nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size
    rotation, flat, _, axes = choose(told)
    made = trainer.nnUNetTrainer.get_training_transforms(PATCHES[kind], rotation, None, axes, flat, **options)
    assert flat == (kind == "flat")
    return list(made.transforms)


def name_of(transform: object) -> str:
    return type(getattr(transform, "transform", transform)).__name__


def find(kind: str, name: str, **options: object):  # type: ignore[no-untyped-def]
    """nnU-Net's transform of a name, without the chance around it; the first of several."""
    found = next(transform for transform in make_peer(kind, **options) if name_of(transform) == name)
    return getattr(found, "transform", found)


def draw_peer(transform, kind: str, channels: int = 2) -> list[dict]:  # type: ignore[no-untyped-def, type-arg]
    np.random.seed(0)
    torch.manual_seed(0)
    image = torch.zeros(channels, *PATCHES[kind])
    if kind == "flat" and isinstance(transform, SpatialTransform):
        image = image[:, 0]
    return [transform.get_parameters(image=image) for _ in range(DRAWS)]


def draw_own(name: str, kind: str, **options: object) -> list[object]:
    scene = make_scene(kind, **options)  # type: ignore[arg-type]
    return [AUGMENTATIONS.get(name).draw(rng, scene) for rng in make_generators(DRAWS)]


def assert_alike(own: object, peer: object) -> None:
    """Two samples of one distribution."""
    assert stats.ks_2samp(np.ravel(np.asarray(own)), np.ravel(np.asarray(peer))).pvalue > SURE


def assert_as_often(own: int, peer: int, draws: int = DRAWS) -> None:
    """Two counts of one chance."""
    assert stats.fisher_exact([[own, draws - own], [peer, draws - peer]]).pvalue > SURE


def draw_sample(kind: str, channels: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and labels in blocks of three voxels."""
    rng, size = np.random.default_rng(seed), PATCHES[kind]
    blocks = rng.integers(0, 4, size=[-(-length // 3) for length in size])
    for axis, length in enumerate(size):
        blocks = blocks.repeat(3, axis).take(np.arange(length), axis)
    image = rng.normal(1.0, 2.0, size=(channels, *size)).astype(np.float32)
    return torch.from_numpy(image), torch.from_numpy(blocks.astype(np.int16))


@pytest.mark.parametrize("kind", list(PATCHES))
def test_the_list_has_the_same_order_and_chances(kind: str) -> None:
    names = {
        "SpatialTransform": ("spatial", None),
        "GaussianNoiseTransform": ("noise", noise.CHANCE),
        "GaussianBlurTransform": ("blur", blur.CHANCE),
        "MultiplicativeBrightnessTransform": ("brightness", brightness.CHANCE),
        "ContrastTransform": ("contrast", contrast.CHANCE),
        "SimulateLowResolutionTransform": ("low_resolution", low_resolution.CHANCE),
        "MirrorTransform": ("mirror", None),
        "ApplyRandomBinaryOperatorTransform": ("previous_shape", previous.CHANGE_CHANCE),
        "RemoveRandomConnectedComponentFromOneHotEncodingTransform": ("previous_removal", previous.REMOVAL_CHANCE),
    }
    found = []
    for transform in make_peer(kind, is_cascaded=True, foreground_labels=[1, 2]):
        name, chance = name_of(transform), getattr(transform, "apply_probability", None)
        if name == "GammaTransform":
            inverts = transform.transform.p_invert_image == 1  # type: ignore[attr-defined]
            found.append(("inverted_gamma", gamma.INVERTED_CHANCE) if inverts else ("gamma", gamma.CHANCE))
        elif name in names:
            found.append(names[name])
        else:  # what our list does elsewhere: slices, the outside, one map per label
            assert name in (
                "Convert3DTo2DTransform",
                "Convert2DTo3DTransform",
                "RemoveLabelTransform",
                "MoveSegAsOneHotToDataTransform",
            )
            continue
        assert found[-1][1] == chance
    assert [name for name, _ in found] == [augmentation.name for augmentation in DEFAULT_AUGMENTATIONS]


@pytest.mark.parametrize("kind", list(PATCHES))
def test_matrices_are_drawn_alike(kind: str) -> None:
    drawn = [parameters["affine"] for parameters in draw_peer(find(kind, "SpatialTransform"), kind)]
    own = [transform.matrix for transform in draw_own("spatial", kind)]  # type: ignore[attr-defined]
    axes = len(own[0])
    changed = [matrix for matrix in own if not np.array_equal(matrix, np.eye(axes))]
    theirs = [matrix for matrix in drawn if matrix is not None]
    assert_as_often(len(changed), len(theirs))
    assert theirs[0].shape == (axes, axes)
    for row in range(axes):
        for column in range(axes):
            assert_alike([m[row, column] for m in changed], [m[row, column] for m in theirs])
    assert_alike([np.linalg.det(m) for m in changed], [np.linalg.det(m) for m in theirs])
    scales = [np.linalg.det(m) ** (1 / axes) for m in theirs]
    assert SCALE_RANGE[0] <= min(scales)
    assert max(scales) <= SCALE_RANGE[1]


def test_noise_is_drawn_alike() -> None:
    peer = [parameters["sigmas"] for parameters in draw_peer(find("3d", "GaussianNoiseTransform"), "3d")]
    assert_alike([drawn.sd for drawn in draw_own("noise", "3d") if drawn is not None], peer)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["3d", "flat", "square"])
def test_blur_is_drawn_alike(kind: str) -> None:
    drawn = draw_peer(find(kind, "GaussianBlurTransform"), kind)
    peer = np.array([row for parameters in drawn for row in parameters["sigmas"]])
    own = np.concatenate([sigmas for sigmas in draw_own("blur", kind) if sigmas is not None])  # type: ignore[arg-type]
    blurred = own[own[:, 0] > 0]
    assert blurred.shape[1] == peer.shape[1] == len(PATCHES[kind])
    for axis in range(peer.shape[1]):
        assert_alike(blurred[:, axis], peer[:, axis])
    rate = len(peer) / (2 * DRAWS)
    assert len(blurred) / len(own) == pytest.approx(rate, abs=0.06)
    assert len(np.unique(blurred)) == blurred.size
    assert len(np.unique(peer)) == peer.size


@pytest.mark.parametrize(
    ("name", "peer", "key"),
    [
        ("brightness", "MultiplicativeBrightnessTransform", "multipliers"),
        ("contrast", "ContrastTransform", "multipliers"),
        ("gamma", "GammaTransform", "gamma"),
        ("inverted_gamma", "GammaTransform", "gamma"),
    ],
)
def test_factors_are_drawn_alike(name: str, peer: str, key: str) -> None:
    theirs = torch.stack([parameters[key] for parameters in draw_peer(find("3d", peer), "3d")]).numpy()
    own = np.array([factors for factors in draw_own(name, "3d") if factors is not None])
    assert own.shape[1] == theirs.shape[1] == 2  # one a channel, and each its own
    for channel in range(2):
        assert_alike(own[:, channel], theirs[:, channel])
    assert abs(np.corrcoef(own.T)[0, 1]) < 0.2


@pytest.mark.parametrize("kind", ["3d", "flat", "square"])
def test_zooms_are_drawn_alike(kind: str) -> None:
    drawn = [p["scales"] for p in draw_peer(find(kind, "SimulateLowResolutionTransform"), kind) if len(p["scales"])]
    peer = torch.cat(drawn).numpy()
    zooms = [zoom for zoom in draw_own("low_resolution", kind) if zoom is not None]
    factors = np.concatenate([zoom.factors for zoom in zooms])  # type: ignore[attr-defined]
    assert_alike(factors[factors < 1], peer[:, -1])
    assert len(peer) / (2 * DRAWS) == pytest.approx(np.mean(factors < 1), abs=0.06)
    assert {zoom.first_axis for zoom in zooms} == {int((peer[:, 0] == 1).all())}  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["3d", "square"])
def test_flips_are_drawn_alike(kind: str) -> None:
    peer = [tuple(parameters["axes"]) for parameters in draw_peer(find(kind, "MirrorTransform"), kind)]
    own = [flips.axes if flips is not None else () for flips in draw_own("mirror", kind)]  # type: ignore[attr-defined]
    assert set(own) == set(peer)
    for axes in set(own):
        assert_as_often(own.count(axes), peer.count(axes))


def test_changes_of_the_stage_before_are_drawn_alike() -> None:
    options = {"is_cascaded": True, "foreground_labels": [1, 2, 3]}
    peer = draw_peer(find("3d", "ApplyRandomBinaryOperatorTransform", **options), "3d", channels=5)
    own = [drawn.changes for drawn in draw_own("previous_shape", "3d", previous_values=(1, 2, 3)) if drawn is not None]  # type: ignore[attr-defined]
    theirs = [len(parameters["apply_to_channels"]) for parameters in peer]
    counts = [len(changes) for changes in own]
    for count in (1, 2, 3):  # ours leaves out the draws without any
        share = theirs.count(count) / (DRAWS - theirs.count(0))
        assert counts.count(count) / len(counts) == pytest.approx(share, abs=0.06)
    assert_alike([c.radius for changes in own for c in changes], [s for p in peer for s in p["strel_size"]])
    kinds = {"dilate": "dilation", "erode": "erosion", "close": "closing", "open": "opening"}
    found = [operator.__name__ for parameters in peer for operator in parameters["operators"]]
    mine = [change.operation for changes in own for change in changes]
    for name, theirs_name in kinds.items():
        share = found.count(f"binary_{theirs_name}_torch") / len(found)
        assert mine.count(name) / len(mine) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("kind", list(PATCHES))
@pytest.mark.parametrize("resample", [resample_views, resample_in_torch])
def test_rotation_and_scaling_do_the_same(
    kind: str, resample: Callable[..., list[tuple[torch.Tensor, torch.Tensor]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.augmentation.spatial.resample_views", resample)
    peer, (image, labels) = find(kind, "SpatialTransform"), draw_sample(kind)
    drawn = [parameters for parameters in draw_peer(peer, kind)[:60] if parameters["affine"] is not None]
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
    from batchgeneratorsv2.transforms.spatial import spatial

    np.testing.assert_allclose(
        make_matrix([0.1, -0.2, 0.3], 1.2), spatial.create_affine_matrix_3d([0.1, -0.2, 0.3], [1.2] * 3)
    )
    np.testing.assert_allclose(make_matrix([0.4], 0.8), spatial.create_affine_matrix_2d(0.4, [0.8] * 2))


@pytest.mark.parametrize("kind", ["3d", "square"])
def test_deformation_does_the_same(kind: str) -> None:
    size = PATCHES[kind]
    peer = SpatialTransform(
        size, 0, False, p_elastic_deform=1, elastic_deform_scale=(0.1, 0.25), elastic_deform_magnitude=(1, 2),
        p_rotation=1, rotation=(-0.5, 0.5), border_mode_seg="constant", padding_value_seg=-1,
    )  # fmt: skip
    image, labels = draw_sample(kind)
    for parameters in draw_peer(peer, kind)[:5]:
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
    for number, parameters in enumerate(draw_peer(peer, kind)[:12]):
        image, _ = draw_sample(kind, seed=number)
        sigmas = np.zeros((2, len(PATCHES[kind])))
        sigmas[parameters["apply_to_channel"].numpy()] = np.reshape(parameters["sigmas"], (-1, sigmas.shape[1]))
        own, _ = blur.apply_blur(image.clone()[None], LABELS, [sigmas])
        expected = image.clone()
        for channel in np.flatnonzero(parameters["apply_to_channel"]):
            for axis, sigma in enumerate(sigmas[channel]):
                module = __import__("batchgeneratorsv2.transforms.noise.gaussian_blur", fromlist=["blur_dimension"])
                expected[channel : channel + 1] = module.blur_dimension(expected[channel : channel + 1], sigma, axis)
        np.testing.assert_allclose(own[0].numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["3d", "square"])
def test_brightness_and_contrast_do_the_same(kind: str) -> None:
    image, _ = draw_sample(kind)
    for peer, apply in (
        (find(kind, "MultiplicativeBrightnessTransform"), brightness.apply_brightness),
        (find(kind, "ContrastTransform"), contrast.apply_contrast),
    ):
        for parameters in draw_peer(peer, kind)[:5]:
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
    for parameters in draw_peer(peer, "3d")[:8]:
        assert bool(parameters["invert_image"].all()) is inverted
        own, _ = apply(image.clone()[None], LABELS, [tuple(parameters["gamma"].tolist())])
        expected = peer._apply_to_image(image.clone(), **parameters)
        np.testing.assert_allclose(own[0].numpy(), expected.numpy(), atol=5e-5)


@pytest.mark.parametrize("kind", ["3d", "flat", "square"])
def test_low_resolution_does_the_same(kind: str) -> None:
    peer, (image, _) = find(kind, "SimulateLowResolutionTransform"), draw_sample(kind)
    for parameters in draw_peer(peer, kind)[:12]:
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
