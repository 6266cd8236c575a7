"""Label values as what losses compare with: a map of 0 and 1 per channel."""

from __future__ import annotations

from torch import Tensor


def encode_targets(labels: Tensor, table: Tensor, ignore: int | None) -> tuple[Tensor, Tensor | None]:
    """Label values as membership maps.

    Args:
        labels: (batch, ...), values of the label map.
        table: (channel, value), ``LabelScheme.channel_table()`` as float32 on the same device.
        ignore: the ignore label, where there is one.
    Returns:
        targets (batch, channel, ...), float32, and the mask (batch, 1, ...) of labelled voxels or None.
    """
    values = labels.long()
    targets = table[:, values].movedim(0, 1)
    mask = None if ignore is None else (values != ignore).unsqueeze(1).float()
    return targets, mask
