"""Alarms: what looks wrong while a network trains, each with a remedy, each said once."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from medseg.training.monitor import EpochRecord

# A label that is still not found after so many epochs, or after this share of a shorter training, will hardly be found
# later: 50 epochs are 12500 steps of nnU-Net's recipe.
PATIENT_EPOCHS, PATIENT_SHARE = 50, 0.2
# Epochs that are averaged before anything is said about a trend.
TREND_EPOCHS = 5
# Where so many steps are skipped, and so large a share of all, it is no matter of single batches.
SKIPPED_STEPS, SKIPPED_SHARE = 10, 0.05
# Of what the training loss has fallen by: the validation loss must have fallen by at least this.
GENERALISED_SHARE = 0.5


def find_alarms(history: Sequence[EpochRecord], record: EpochRecord) -> tuple[str, ...]:
    """What looks wrong at the end of an epoch.

    Args:
        history: the epochs before.
        record: this one, without its alarms.
    Returns:
        one line per fault, with its remedy; nothing in the first fifth of a training (the first 50 epochs of a long
        one), and nothing that was said before.
    """
    share = record.steps / max(1, record.total_steps)
    if record.epoch < PATIENT_EPOCHS and share < PATIENT_SHARE:
        return ()
    epochs = [*history, record]
    lines = [*_find_unpredicted(epochs), *_find_lost(epochs), *_find_gap(epochs), *_find_skipped(record)]
    said = {alarm.partition(":")[0] for earlier in history for alarm in earlier.alarms}
    return tuple(line for line in lines if line.partition(":")[0] not in said)


def _find_unpredicted(epochs: Sequence[EpochRecord]) -> list[str]:
    return [
        f"{label!r} has not been predicted once so far: train longer, raise foreground_share, use --sampling lesion, "
        "or check its masks"
        for label in epochs[-1].unpredicted
        if all(label in record.unpredicted or record.patch_dice.get(label) is None for record in epochs)
    ]


def _find_lost(epochs: Sequence[EpochRecord]) -> list[str]:
    """Labels whose Dice stays at 0 while the loss falls, though they were predicted somewhere."""
    count = max(TREND_EPOCHS, min(PATIENT_EPOCHS, round(PATIENT_SHARE * len(epochs))))
    recent = epochs[-count:]
    losses = [record.loss for record in recent if record.loss is not None]
    half = len(losses) // 2
    if len(recent) < count or half < 1 or fmean(losses[-half:]) >= fmean(losses[:half]):
        return []
    never = {label for label in recent[-1].unpredicted if all(label in record.unpredicted for record in epochs)}
    return [
        f"the loss falls while the patch Dice of {label!r} stays at 0: give it more weight with "
        "--set class_weights=..., raise foreground_share, or check its masks"
        for label, dice in recent[-1].patch_dice.items()
        if dice == 0 and label not in never and not any(record.patch_dice.get(label) for record in recent)
    ]


def _find_gap(epochs: Sequence[EpochRecord]) -> list[str]:
    pairs = [(r.loss, r.validation_loss) for r in epochs if r.loss is not None and r.validation_loss is not None]
    if len(pairs) < 2 * TREND_EPOCHS:
        return []
    (loss, held_out), (first_loss, first_held_out) = (
        (fmean(pair[0] for pair in part), fmean(pair[1] for pair in part))
        for part in (pairs[-TREND_EPOCHS:], pairs[:TREND_EPOCHS])
    )
    gained = first_loss - loss
    if gained <= 0 or first_held_out - held_out >= GENERALISED_SHARE * gained or held_out <= loss:
        return []
    if held_out < fmean(pair[1] for pair in pairs[-2 * TREND_EPOCHS : -TREND_EPOCHS]):
        return []  # it is behind, but still on its way: averaged weights are late by nature
    return [
        f"the network learns the training cases by heart: its loss fell by {gained:.2f} there and by "
        f"{first_held_out - held_out:.2f} on the validation cases; stop it earlier with --set patience_epochs=30, add "
        "cases, or check that both come from the same kind of scans"
    ]


def _find_skipped(record: EpochRecord) -> list[str]:
    if record.skipped_steps < max(SKIPPED_STEPS, SKIPPED_SHARE * record.steps):
        return []
    return [
        f"many steps are skipped: in {record.skipped_steps} of {record.steps} the loss or its gradient was not finite; "
        "lower --set learning_rate=..., use --set precision=float32, or look for numbers that are not finite in the "
        "images"
    ]
