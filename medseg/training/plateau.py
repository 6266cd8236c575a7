"""Stopping early: where the validation loss no longer falls."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.training.monitor import EpochRecord

# The loss of a few patches jumps from epoch to epoch; nnU-Net averages its patch Dice with the same share of the old.
SMOOTHING = 0.9


def has_settled(history: Sequence[EpochRecord], patience_epochs: int) -> bool:
    """Whether the averaged validation loss has not reached a new low for so many epochs.

    Args:
        history: all epochs so far.
        patience_epochs: how many; 0 for never.
    Returns:
        a function of the history alone, so that a resumed training stops where an uninterrupted one does; False where
        no epoch has a validation loss.
    """
    lowest: float | None = None
    average: float | None = None
    waited = 0
    for record in history:
        if record.validation_loss is None:
            continue
        loss = record.validation_loss
        average = loss if average is None else SMOOTHING * average + (1 - SMOOTHING) * loss
        if lowest is None or average < lowest:
            lowest, waited = average, 0
        else:
            waited += 1
    return 0 < patience_epochs <= waited
