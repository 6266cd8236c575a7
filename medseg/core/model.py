"""The model folder's own record, ``model.json``: what the model is and the hash of every file in it."""

from __future__ import annotations

from pydantic import Field

from medseg.core.labels import LabelScheme
from medseg.core.plugins import Plugin
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
        previous_folds: the folds of that stage.
    """

    configuration: str
    folds: tuple[int | str, ...]
    previous: str | None = None
    previous_folds: tuple[int | str, ...] = ()

    @property
    def default_folds(self) -> tuple[int | str, ...]:
        """The folds that are averaged unless others are named: the numbered ones, ``all`` where it stands alone."""
        return tuple(fold for fold in self.folds if isinstance(fold, int)) or self.folds


class Span(Record):
    """From the smallest to the largest value."""

    low: float
    high: float


class FamiliarChannel(Record):
    """One channel's intensities in the training data, in the files' unit.

    Args:
        foreground: 0.5 and 99.5 % of the labelled voxels of all scans together.
        extremes: the smallest and the largest labelled voxel.
        level: over the scans, the median of the voxels that are not zero; None where only labelled voxels are known.
        width: over the scans, how far these voxels' 99.5 % lies above their 0.5 %; None likewise.
    """

    foreground: Span
    extremes: Span
    level: Span | None = None
    width: Span | None = None


class Familiar(Record):
    """What the training scans looked like, so that a scan far from them can be told.

    Args:
        spacing_mm: over the scans, along each axis; None where an axis has none (pictures).
        size_voxels: over the scans, the extent of what is not zero along each axis.
        size_mm: the same in millimetres; None where an axis has no spacing.
        channels: each channel's intensities.
        orientation: the directions that these axes run to, such as ``SPL``, where scans are turned; None: i, j, k as
            the files have them.
        orientations: where scans are not turned, the directions that i, j, k of the training scans ran to; empty where
            they are not known.
        mirrored_axes: where scans are not turned, which of i, j, k (0 = i) training flipped.
    """

    spacing_mm: tuple[Span | None, Span | None, Span | None]
    size_voxels: tuple[Span, Span, Span]
    size_mm: tuple[Span | None, Span | None, Span | None]
    channels: tuple[FamiliarChannel, ...]
    orientation: str | None = None
    orientations: tuple[str, ...] = ()
    mirrored_axes: tuple[int, ...] = ()


class ModelRecord(Record):
    """``model.json``.

    Args:
        members: what is averaged.
        mirror_axes: the patch's axes that prediction may flip.
        postprocessing: rules that cross-validation chose.
        provenance: where the weights come from: version, data set, hashes.
        plugins: the user's own modules that it was trained with; it is not used without them.
        card: what a user should know: intended use, scores, limits.
        familiar: what the training scans looked like; None where it is not known.
        files: SHA-256 of every other file of the folder.
    """

    format: str = FORMAT
    labels: LabelScheme
    channels: tuple[str, ...]
    members: tuple[Member, ...]
    mirror_axes: tuple[int, ...]
    postprocessing: tuple[Rule, ...] = ()
    provenance: dict[str, str] = Field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()
    card: dict[str, str] = Field(default_factory=dict)
    familiar: Familiar | None = None
    files: dict[str, str] = Field(default_factory=dict)
