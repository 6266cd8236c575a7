"""The model folder's own record, ``model.json``: what the model is and the hash of every file in it."""

from __future__ import annotations

from pydantic import Field

from medseg.core.labels import LabelScheme
from medseg.core.records import Record

FORMAT = "medseg-model-1"


class Rule(Record):
    """Which components (26 neighbours) of one label or region are kept.

    Args:
        label: the name of the class or region.
        keep_largest: whether only its largest component is kept.
        minimum_ml: smaller components are removed, millilitres; 0 keeps all. With ``keep_largest`` it holds for the
            largest one too.
    """

    label: str
    keep_largest: bool = False
    minimum_ml: float = 0.0


class Member(Record):
    """A configuration and the folds whose networks are averaged.

    Args:
        previous: the configuration whose masks it reads (the low-resolution stage of a cascade).
    """

    configuration: str
    folds: tuple[int | str, ...]
    previous: str | None = None


class ModelRecord(Record):
    """``model.json``.

    Args:
        members: what is averaged.
        mirror_axes: the patch's axes that prediction may flip.
        postprocessing: rules that cross-validation chose.
        provenance: where the weights come from: version, data set, hashes.
        card: what a user should know: intended use, scores, limits.
        files: SHA-256 of every other file of the folder.
    """

    format: str = FORMAT
    labels: LabelScheme
    channels: tuple[str, ...]
    members: tuple[Member, ...]
    mirror_axes: tuple[int, ...]
    postprocessing: tuple[Rule, ...] = ()
    provenance: dict[str, str] = Field(default_factory=dict)
    card: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
