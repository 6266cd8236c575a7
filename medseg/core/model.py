"""The model folder's own record, ``model.json``: what the model is and the hash of every file in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from medseg.core.channel_rules import ChannelRule, check_rules
from medseg.core.label_codes import LabelCodes
from medseg.core.labels import LabelScheme
from medseg.core.plugins import Plugin
from medseg.core.records import Record, hash_json

FORMAT = "medseg-model-1"
# Entries that came later: left out where they say nothing, so that records with and without them have one hash.
_LATER = ("channel_rules", "codes")


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


class VolumeStratum(Record):
    """Where true volumes lay about predicted ones, for predictions of some size.

    Args:
        from_ml, to_ml: the predicted volumes that it is for, the first within, the second beyond; None for no bound.
        patients, cases: that it was learnt from.
        tails: ``both``: either bound by the errors of its own side; ``together``: one factor and its reverse by the
            size of all errors, where patients are too few for that; ``upper``: the upper bound alone, where too many
            predictions hold nothing true.
        low, high: a true volume lies between the predicted one times ``low`` and times ``high``.
    """

    from_ml: float | None
    to_ml: float | None
    patients: int = Field(ge=1)
    cases: int = Field(ge=1)
    tails: Literal["both", "together", "upper"]
    low: float = Field(ge=0)
    high: float = Field(ge=0)

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.low > self.high:
            raise ValueError("the lower bound lies above the upper one")
        return self

    def holds(self, volume_ml: float) -> bool:
        """Whether a predicted volume belongs to it."""
        above = self.from_ml is None or volume_ml >= self.from_ml
        return above and (self.to_ml is None or volume_ml < self.to_ml)


class LabelErrors(Record):
    """The errors of one label's volume.

    Args:
        label, values: the class or region, and its values in a mask.
        strata: by rising volume, without a gap; empty where the errors are not known.
        reason: why they are not known; empty where they are.
        smallest_ml, largest_ml: of the predicted volumes that they were learnt from; None without any.
        missed: cases whose reference holds the label and whose prediction does not: an empty mask has no error bar.
    """

    label: str
    values: tuple[int, ...]
    strata: tuple[VolumeStratum, ...] = ()
    reason: str = ""
    smallest_ml: float | None = None
    largest_ml: float | None = None
    missed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check_strata(self) -> Self:
        if bool(self.strata) == bool(self.reason):
            raise ValueError("either the errors are known, or there is a reason why they are not")
        if not self.strata:
            return self
        starts, stops = ([stratum.from_ml for stratum in self.strata], [stratum.to_ml for stratum in self.strata])
        inner = [edge for edge in starts[1:] if edge is not None]
        if starts[0] is not None or stops[-1] is not None or starts[1:] != stops[:-1]:
            raise ValueError("the strata leave a gap or overlap")
        if len(inner) < len(starts) - 1 or inner != sorted(set(inner)):
            raise ValueError("the strata do not rise")
        return self


class VolumeErrors(Record):
    """How far predicted volumes lay from true ones, learnt from the masks of cases that a network had not seen.

    Args:
        level: the share of patients whose true volume lies within the bounds.
        labels: the errors of each label, in the order of the scheme.
        configuration, folds: whose networks predicted the masks, each the validation cases of its fold.
        weights: SHA-256 of these networks' files, by path in the model's folder.
        postprocessing: the rules that were applied to the masks.
        left_out: validation cases that were not learnt from: their reference leaves voxels unlabelled, so that the true
            volume is not known, their patient was trained on, or a file could not be read.
        sha256: of all other entries, so that no number is changed unseen.
    """

    level: float = Field(gt=0, lt=1)
    labels: tuple[LabelErrors, ...]
    configuration: str
    folds: tuple[int | str, ...]
    weights: dict[str, str]
    postprocessing: tuple[Rule, ...]
    left_out: int = Field(default=0, ge=0)
    sha256: str

    @classmethod
    def make(cls, **content: Any) -> Self:
        """The record with its hash filled in."""
        return cls(**content, sha256=cls.model_construct(**content).hash_content())

    @model_validator(mode="after")
    def _check_hash(self) -> Self:
        if self.sha256 != self.hash_content():
            raise ValueError("the errors of volumes do not match their hash")
        return self

    def hash_content(self) -> str:
        """The SHA-256 of all entries but the hash itself."""
        return hash_json(self.model_dump(mode="json", exclude={"sha256"}))

    def find(self, label: str, values: Sequence[int]) -> LabelErrors | None:
        """The errors of a label, where it has the same values here; else None."""
        return next((own for own in self.labels if (own.label, own.values) == (label, tuple(values))), None)


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
        volume_errors: how far its volumes lie from true ones; None where nobody has learnt them (imported models).
        channel_rules: which DICOM series is which channel, one for each, as the data set was made with; empty where it
            was not made from DICOM.
        codes: what its labels are in DICOM's vocabulary, as the data set says; of the others their names tell.
        files: SHA-256 of every other file of the folder.
        sha256: of all other entries, filled in as the record is written; empty where it was not written yet.
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
    volume_errors: VolumeErrors | None = None
    channel_rules: tuple[ChannelRule, ...] = ()
    codes: dict[str, LabelCodes] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""

    @model_validator(mode="after")
    def _check_errors(self) -> Self:
        if self.volume_errors is not None:
            known = {errors.label: errors.values for errors in self.volume_errors.labels}
            if known != self.labels.labels or len(known) != len(self.volume_errors.labels):
                raise ValueError("the errors of volumes are of other labels than the model's")
        return self

    @model_validator(mode="after")
    def _check_channel_rules(self) -> Self:
        check_rules(self.channel_rules, self.channels)
        return self

    @model_validator(mode="after")
    def _check_codes(self) -> Self:
        if strangers := sorted(self.codes.keys() - set(self.labels.names)):
            raise ValueError(f"codes of {', '.join(strangers)}, the labels are {', '.join(self.labels.names)}")
        return self

    @model_validator(mode="after")
    def _check_hash(self) -> Self:
        if self.sha256 and self.sha256 != self.hash_content():
            raise ValueError("it does not match its hash: damaged, or changed by hand (then delete its entry sha256)")
        return self

    def hash_content(self) -> str:
        """The SHA-256 of all entries but the hash itself."""
        return hash_json(self._list_entries())

    def _list_entries(self) -> dict[str, Any]:
        silent = {name for name in _LATER if not getattr(self, name)}
        return self.model_dump(mode="json", exclude={"sha256", *silent})

    def to_json(self) -> str:
        """The record with its hash, as indented JSON, so that no number is changed unseen."""
        read_back = type(self).model_validate(self.model_dump(mode="json", exclude={"sha256"}))
        content = {**read_back._list_entries(), "sha256": read_back.hash_content()}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"
