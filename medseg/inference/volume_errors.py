"""Whether the errors that a model's volumes made in its cross-validation hold for the way it predicts now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medseg.core.model import Rule, VolumeErrors
from medseg.inference.members import LoadedMember
from medseg.inference.model_folder import Model

# Validation goes through scans so (``stream_logits``' own default).
LEARNT_OVERLAP = 0.5


def settle_errors(
    models: Sequence[Model], members: Sequence[LoadedMember], overlap: float, rules: Sequence[Rule]
) -> tuple[VolumeErrors | None, str]:
    """The errors of the volumes that a predictor measures.

    Args:
        models: that it averages.
        members: their networks in memory.
        overlap: share of a window that neighbours share.
        rules: what is applied to its masks.
    Returns:
        the errors, and no word; or None and the reason: several models, other folds, weights or postprocessing than
        they were learnt from, or scans gone through in another way. Engine and precision may be others: they move far
        less than a thousandth of a volume.
    """
    if len(models) > 1:
        return None, "several models were averaged; errors are known of each alone"
    (record,) = (model.record for model in models)
    errors, (member, *further) = record.volume_errors, members
    if errors is None:
        return None, "the model does not know the errors of its volumes: it was imported, or made by an older medseg"
    if further or member.configuration.name != errors.configuration or set(member.folds) != set(errors.folds):
        used = "; ".join(f"{own.configuration.name} {_list(own.folds)}" for own in members)
        return None, f"folds {used} were used; errors are known of {errors.configuration} {_list(errors.folds)}"
    if any(record.files.get(name) != digest for name, digest in errors.weights.items()):
        return None, "the model's weights are not those whose errors are known"
    if tuple(rules) != errors.postprocessing:
        return None, "the postprocessing is not that of the masks whose errors are known"
    if member.mirror_axes != record.mirror_axes or overlap != LEARNT_OVERLAP:
        return None, f"errors are known with mirrored copies and an overlap of {LEARNT_OVERLAP:g} alone"
    return errors, ""


def describe_errors(errors: VolumeErrors | None, reason: str) -> dict[str, Any]:
    """What ``run.json`` says of them, so that ``measure`` needs no model: ``table`` or null, and the ``reason``."""
    return {"reason": reason, "table": None if errors is None else errors.model_dump(mode="json")}


def _list(folds: Sequence[int | str]) -> str:
    return ", ".join(map(str, folds)) or "none"
