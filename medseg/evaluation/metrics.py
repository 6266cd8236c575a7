"""The table of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medseg.core.registry import Registry
from medseg.evaluation import instances, overlap, surface
from medseg.evaluation.pairs import LabelPair


@dataclass(frozen=True)
class Metric:
    """One way to score a label's mask against its reference.

    Args:
        name: what the column ``metric`` says.
        measure: from the pair of masks to the value; None where it is not defined. Never called where both masks are
            empty.
        definition: what the column ``definition`` says; ``{surfaces}`` stands for the chosen definition of
            surfaces, ``{tolerance_mm:g}`` for the label's tolerance.
        unit: ``mm``, or empty for ratios.
        measure_lesions: in place of ``measure``, a value per lesion of the reference, largest first.
    """

    name: str
    measure: Callable[[LabelPair], float | None] | None = None
    definition: str = "own"
    unit: str = ""
    measure_lesions: Callable[[LabelPair], Sequence[float | None]] | None = None


METRICS: Registry[Metric] = Registry("metric")

for _metric in (
    Metric("dice", lambda pair: overlap.measure_dice(pair.counts), "voxel"),
    Metric("iou", lambda pair: overlap.measure_iou(pair.counts), "voxel"),
    Metric("sensitivity", lambda pair: overlap.measure_sensitivity(pair.counts), "voxel"),
    Metric("precision", lambda pair: overlap.measure_precision(pair.counts), "voxel"),
    Metric("specificity", lambda pair: overlap.measure_specificity(pair.counts), "voxel"),
    Metric("volume_similarity", lambda pair: overlap.measure_volume_similarity(pair.counts), "voxel"),
    Metric("hd", lambda pair: surface.measure_hd(pair.distances), "{surfaces}", "mm"),
    Metric("hd95", lambda pair: surface.measure_hd95(pair.distances, pair.definition), "{surfaces}", "mm"),
    Metric("assd", lambda pair: surface.measure_assd(pair.distances), "{surfaces}", "mm"),
    Metric("masd", lambda pair: surface.measure_masd(pair.distances), "{surfaces}", "mm"),
    Metric(
        "nsd",
        lambda pair: surface.measure_nsd(pair.distances, pair.tolerance_mm),
        "{surfaces} tol={tolerance_mm:g}mm",
    ),
    Metric("lesion_f1", lambda pair: instances.measure_lesion_f1(pair.lesions), instances.MATCHING),
    Metric("lesion_precision", lambda pair: instances.measure_lesion_precision(pair.lesions), instances.MATCHING),
    Metric("lesion_recall", lambda pair: instances.measure_lesion_recall(pair.lesions), instances.MATCHING),
):
    METRICS.add(_metric.name)(_metric)

# Rows of its own: metric "dice", an instance number per lesion of the reference.
METRICS.add("lesion_dice")(
    Metric("dice", None, instances.MATCHING, measure_lesions=lambda pair: pair.lesions.dice),
)

DEFAULT_METRICS = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "volume_similarity",
    "hd95",
    "assd",
    "nsd",
    "lesion_f1",
    "lesion_dice",
)


def choose_metrics(wanted: Sequence[str | Metric | Callable[[LabelPair], float | None]] | None) -> list[Metric]:
    """The metrics by their names.

    Args:
        wanted: names from the table, ``Metric`` objects, or functions from a pair of masks to a value; the default
            ones where None.
    Returns:
        the metrics in that order; a function is called by its own name.
    Raises:
        PlanError: a name that is not in the table.
    """
    chosen = []
    for entry in DEFAULT_METRICS if wanted is None else wanted:
        if isinstance(entry, str | Metric):
            chosen.append(METRICS.get(entry))
        else:
            chosen.append(Metric(getattr(entry, "__name__", type(entry).__name__), entry))
    return chosen
