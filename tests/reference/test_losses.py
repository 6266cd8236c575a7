"""Losses against nnU-Net's own."""

import numpy as np
import pytest
import torch

compound = pytest.importorskip(
    "nnunetv2.training.loss.compound_losses", reason="nnunetv2 (bench group) is not installed"
)

from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss  # noqa: E402

from medseg.core.labels import LabelScheme  # noqa: E402
from medseg.training.losses import build_loss, encode_targets  # noqa: E402

SCHEME = LabelScheme.make({"organ": 1, "tumour": 2, "ignore": 3})


def draw(highest: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, highest + 1, (2, 6, 7, 8)).astype(np.uint8))
    return torch.from_numpy(rng.normal(size=(2, 3, 6, 7, 8)).astype(np.float32)), labels


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("ignore", [None, 3])
def test_dice_ce_equals_nnunets(batch_dice: bool, ignore: int | None) -> None:
    logits, labels = draw(2 if ignore is None else 3)
    peer = compound.DC_and_CE_loss(
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        ignore_label=ignore,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    targets, mask = encode_targets(labels, torch.from_numpy(SCHEME.channel_table()).float(), ignore)
    own = build_loss("dice_ce", SCHEME, batch_dice=batch_dice)(logits, targets, mask)
    assert float(own) == pytest.approx(float(peer(logits, labels[:, None].long())), rel=1e-5)


@pytest.mark.parametrize("batch_dice", [False, True])
def test_dice_bce_equals_nnunets(batch_dice: bool) -> None:
    logits, labels = draw(2)
    targets = torch.stack([labels > 0, labels > 1, labels == 1], 1).float()
    peer = compound.DC_and_BCE_loss(
        {},
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": True, "ddp": False},
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    own = build_loss("dice_bce", SCHEME, batch_dice=batch_dice)(logits, targets, None)
    assert float(own) == pytest.approx(float(peer(logits, targets)), rel=1e-5)
