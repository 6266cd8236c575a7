"""Tversky: Dice that minds a missed voxel more than a wrong one."""

from __future__ import annotations

from medseg.training.losses.dice import make_region_loss
from medseg.training.losses.setting import Loss, LossSetting

# What a wrongly found and what a missed voxel costs: the best pair of Salehi et al., table 1.
WRONG, MISSED = 0.3, 0.7


def tversky(setting: LossSetting) -> Loss:
    """The Tversky index plus cross-entropy, which keeps a gradient where probabilities are 0 or 1.

    Source: Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks"
        (2017), equation 4: |PT| / (|PT| + 0.3 |P without T| + 0.7 |T without P|), which is
        2 |PT| / (0.6 |P| + 1.4 |T|). They use it alone; a sum with cross-entropy trains more steadily (Ma et al.,
        "Loss odyssey in medical image segmentation", 2021).
    """
    return make_region_loss(setting, setting.output, shares=(2 * WRONG, 2 * MISSED))
