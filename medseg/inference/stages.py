"""Every network of a model, the first stages of its cascades included."""

from __future__ import annotations

from medseg.core.errors import ModelError
from medseg.core.model import Member
from medseg.inference.model_folder import Model


def list_stages(model: Model) -> list[Member]:
    """The configurations of a model, each first stage of a cascade before the stage that reads it.

    Args:
        model: an opened model.
    Returns:
        one entry per configuration; a first stage is a member without a previous one.
    Raises:
        ModelError: a configuration is used with two sets of folds.
    """
    stages: dict[str, Member] = {}
    for member in model.record.members:
        found = [member]
        if member.previous is not None:
            found.insert(0, Member(configuration=member.previous, folds=member.previous_folds))
        for stage in found:
            if stages.setdefault(stage.configuration, stage) != stage:
                raise ModelError(
                    f"two sets of folds of {stage.configuration} in one model",
                    code="not_expressible",
                    file=model.folder,
                    remedy="Export a model with one of them",
                )
    return list(stages.values())
