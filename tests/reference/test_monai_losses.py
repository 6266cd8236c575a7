"""Losses against MONAI's."""

import pytest
import torch

losses = pytest.importorskip("monai.losses", reason="monai is not installed")

from medseg.core.labels import LabelScheme  # noqa: E402
from medseg.training.losses import build_loss, soft_dice_loss  # noqa: E402
from medseg.training.losses.boundary import cost_by_hausdorff  # noqa: E402

CLASSES = LabelScheme.make({"organ": 1, "tumour": 2})
REGIONS = LabelScheme.make({"whole": [1, 2], "core": 2})


def draw(scheme: LabelScheme, size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    classes = torch.randint(0, 3, (2, *size), generator=generator)
    if scheme is CLASSES:
        targets = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    else:
        targets = torch.stack([classes > 0, classes > 1], 1).float()
    return torch.randn(targets.shape, generator=generator), targets


CASES = pytest.mark.parametrize(
    ("scheme", "size"),
    [(scheme, size) for scheme in (CLASSES, REGIONS) for size in ((6, 7, 8), (12, 13))],
    ids=["classes-3d", "classes-2d", "regions-3d", "regions-2d"],
)


@CASES
def test_focal_equals_monais(scheme: LabelScheme, size: tuple[int, ...]) -> None:
    logits, targets = draw(scheme, size)
    softmax = scheme is CLASSES
    peer = losses.FocalLoss(gamma=2.0, use_softmax=softmax, reduction="none")(logits, targets)
    expected = peer.sum(1).mean() if softmax else peer.mean()  # the mean over voxels, of their true class
    probabilities = logits.softmax(1) if softmax else logits.sigmoid()
    dice = soft_dice_loss(probabilities, targets, None, batch_dice=True, skip_first=softmax)
    own = build_loss("dice_focal", scheme, batch_dice=True)(logits, targets, None) - dice
    assert float(own) == pytest.approx(float(expected), rel=1e-5)


@CASES
@pytest.mark.parametrize("batch_dice", [False, True])
def test_tversky_equals_monais(scheme: LabelScheme, size: tuple[int, ...], batch_dice: bool) -> None:
    logits, targets = draw(scheme, size)
    softmax = scheme is CLASSES
    peer = losses.TverskyLoss(
        include_background=not softmax,
        softmax=softmax,
        sigmoid=not softmax,
        alpha=0.3,
        beta=0.7,
        batch=batch_dice,
        smooth_nr=0.5e-5,
        smooth_dr=0.5e-5,
    )
    entropy = (
        torch.nn.functional.cross_entropy(logits, targets.argmax(1))
        if softmax
        else torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    )
    own = build_loss("tversky", scheme, batch_dice=batch_dice)(logits, targets, None) - entropy
    assert float(own) == pytest.approx(float(peer(logits, targets)) - 1, rel=1e-5)


@CASES
def test_hausdorff_equals_monais(scheme: LabelScheme, size: tuple[int, ...]) -> None:
    logits, targets = draw(scheme, size)
    softmax = scheme is CLASSES
    peer = losses.HausdorffDTLoss(alpha=2.0, include_background=not softmax, softmax=softmax, sigmoid=not softmax)
    probabilities = logits.softmax(1) if softmax else logits.sigmoid()
    own = cost_by_hausdorff(probabilities[:, int(softmax) :], targets[:, int(softmax) :], None).mean()
    assert float(own) == pytest.approx(float(peer(logits, targets)), rel=1e-5)
