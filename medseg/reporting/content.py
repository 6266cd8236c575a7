"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome
from medseg.core.results import Measurement, Score
from medseg.reporting.timelines import Timelines


@dataclass(frozen=True)
class Line:
    """A straight line to draw on a key slice, such as the longest axial diameter.

    Args:
        label: the label or region it belongs to.
        slice_axis: the array axis that the slice cuts: 0, 1 or 2.
        slice_index: the slice along that axis; the line is drawn on this slice alone.
        start: one end, index coordinates (i, j, k) in the file's order, voxel centres at whole numbers.
        stop: the other end.
        text: what stands beside it, such as ``43.2 mm``.
    """

    label: str
    slice_axis: int
    slice_index: int
    start: tuple[float, float, float]
    stop: tuple[float, float, float]
    text: str = ""


@dataclass(frozen=True)
class Figure:
    """One picture, already encoded, so that no volume is kept in memory.

    Args:
        title: what it shows, a few words.
        caption: slice, window and the like, one line.
        image: the encoded bytes.
        media_type: ``image/jpeg`` or ``image/png``.
        width: pixels.
        height: pixels.
        is_key: a key slice, drawn large; the others are thumbnails of the whole scan.
    """

    title: str
    caption: str
    image: bytes
    media_type: str
    width: int
    height: int
    is_key: bool = True


@dataclass(frozen=True)
class CaseFigures:
    """The pictures of one case.

    Args:
        slices: key slices first, then thumbnails; empty where nothing could be drawn.
        note: what the reader must know about the choice of slices; empty where there is nothing.
        has_reference: whether the reference's contours are drawn too.
    """

    case: str
    patient: str
    day: int | None
    slices: tuple[Figure, ...]
    note: str = ""
    has_reference: bool = False


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows.

    Args:
        title: the report's heading.
        dataset: the data set's name.
        labels: the label scheme; its order is the order of rows and colours.
        scores: scores of predictions against references, in any order; empty where there is no reference.
        measurements: measurements of the masks, in any order.
        cases: the pictures, in the order to show them.
        outcomes: what became of each case; refused and failed ones become warnings.
        summary: what ``summarise_scores`` gave; worked out from the scores where None.
        training: a record per epoch of the training log: ``{"epoch": 3, "loss": 0.4, "dice": {"liver": 0.9}}``.
        notes: what the reader should know, a line each.
        warnings: what the reader must look at, a line each; the report adds those it finds in the tables.
        timelines: what ``medseg measure --timeline`` found; None where there is none.
        provenance: version, model hash, settings: name to value. No times and no hosts.
    """

    title: str
    dataset: str
    labels: LabelScheme
    scores: Sequence[Score] = ()
    measurements: Sequence[Measurement] = ()
    cases: Sequence[CaseFigures] = ()
    outcomes: Sequence[CaseOutcome] = ()
    summary: Mapping[str, Any] | None = None
    training: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    timelines: Timelines | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
