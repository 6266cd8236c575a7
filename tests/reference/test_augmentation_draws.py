"""What nnU-Net 2.8 draws for its augmentation (batchgeneratorsv2) and what medseg draws: the same list, the same
chances, the same distributions."""

import numpy as np
import pytest
import torch

pytest.importorskip("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", reason="nnunetv2 (bench group) is not installed")

from medseg.augmentation import (
    DEFAULT_AUGMENTATIONS,
    blur,
    brightness,
    contrast,
    gamma,
    low_resolution,
    noise,
    previous,
)
from medseg.augmentation.spatial import SCALE_RANGE
from tests.reference.nnunet_transforms import (
    DRAWS,
    PATCHES,
    assert_alike,
    assert_as_often,
    draw_own,
    draw_peer,
    find,
    make_peer,
    name_of,
)


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
