"""The table of metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from medseg.core.registry import Registry
from medseg.evaluation import instances, overlap, surface
from medseg.evaluation.overlap import Counts
from medseg.evaluation.pairs import LabelPair

ALL_LABELS = "all"
HALF_IOU = "iou>=0.5 conn={connectivity}"
TOUCHING = "any_overlap many_to_many conn={connectivity}"
VOLUME = "voxel count x voxel volume"

Better = Literal["higher", "lower", "neither"]
"""Which values of a metric are the better ones; ``neither`` of what is no score, such as a volume."""


@dataclass(frozen=True)
class Metric:
    """One way to score a label's mask against its reference.

    Args:
        name: what the column ``metric`` says.
        measure: from the pair of masks to the value; None where it is not defined. Never called where both masks are
            empty.
        definition: what the column ``definition`` says; ``{surfaces}`` stands for the chosen definition of
            surfaces, ``{tolerance_mm:g}`` for the label's tolerance, ``{matching}`` for the rule that matches lesions,
            ``{connectivity}`` for the neighbours that a voxel of a lesion has.
        unit: ``mm``, ``ml``, or empty for ratios.
        measure_lesions: in place of ``measure``, a value per lesion, largest first.
        measure_case: in place of ``measure``, a value per case from the counts of every label; its row's label is
            ``ALL_LABELS``.
        covers_empty: ``measure`` is called even where both masks are empty.
        better: which values are the better ones, for comparisons.
    """

    name: str
    measure: Callable[[LabelPair], float | None] | None = None
    definition: str = "own"
    unit: str = ""
    measure_lesions: Callable[[LabelPair], Sequence[float | None]] | None = None
    covers_empty: bool = False
    measure_case: Callable[[Sequence[Counts]], float | None] | None = None
    better: Better = "higher"


# Of whole scans, then (with ``measure_lesions``) of single lesions, of the reference and of the prediction.
LESION_METRICS = (
    Metric("lesion_f1", lambda pair: instances.measure_lesion_f1(pair.lesions), "{matching}"),
    Metric("lesion_precision", lambda pair: instances.measure_lesion_precision(pair.lesions), "{matching}"),
    Metric("lesion_recall", lambda pair: instances.measure_lesion_recall(pair.lesions), "{matching}"),
    Metric("pq", lambda pair: instances.measure_panoptic_quality(pair.instances), HALF_IOU),
    Metric("sq", lambda pair: instances.measure_segmentation_quality(pair.instances), HALF_IOU),
    Metric("rq", lambda pair: instances.measure_lesion_f1(pair.instances), HALF_IOU),
    Metric(
        "false_negative_volume_ml",
        lambda pair: instances.count_missed_voxels(pair.touching) * pair.voxel_ml,
        TOUCHING,
        "ml",
        better="lower",
    ),
    Metric(
        "false_positive_volume_ml",
        lambda pair: instances.count_false_voxels(pair.touching) * pair.voxel_ml,
        TOUCHING,
        "ml",
        better="lower",
    ),
    Metric(
        "lesion_found", None, "{matching}", measure_lesions=lambda pair: [float(p > 0) for p in pair.lesions.partners]
    ),
    Metric(
        "lesion_volume_ml",
        None,
        "voxel conn={connectivity}",
        "ml",
        lambda pair: [count * pair.voxel_ml for count in pair.lesions.reference_voxels],
        better="neither",
    ),
    Metric(
        "predicted_lesion_real", None, "{matching}", measure_lesions=lambda pair: [float(r) for r in pair.lesions.real]
    ),
    Metric(
        "predicted_lesion_volume_ml",
        None,
        "voxel conn={connectivity}",
        "ml",
        lambda pair: [count * pair.voxel_ml for count in pair.lesions.prediction_voxels],
        better="neither",
    ),
)

METRICS: Registry[Metric] = Registry("metric")

# What the agreement of volumes is worked out from; of a label that a mask lacks the volume is 0.
VOLUME_METRICS = (
    Metric(
        "predicted_volume_ml",
        lambda pair: pair.counts.prediction * pair.voxel_ml,
        VOLUME,
        "ml",
        covers_empty=True,
        better="neither",
    ),
    Metric(
        "reference_volume_ml",
        lambda pair: pair.counts.reference * pair.voxel_ml,
        VOLUME,
        "ml",
        covers_empty=True,
        better="neither",
    ),
)

for _metric in (
    Metric("dice", lambda pair: overlap.measure_dice(pair.counts), "voxel"),
    Metric("iou", lambda pair: overlap.measure_iou(pair.counts), "voxel"),
    Metric("mean_iou", definition="voxel", measure_case=overlap.average_iou),
    Metric("sensitivity", lambda pair: overlap.measure_sensitivity(pair.counts), "voxel"),
    Metric("precision", lambda pair: overlap.measure_precision(pair.counts), "voxel"),
    Metric("specificity", lambda pair: overlap.measure_specificity(pair.counts), "voxel"),
    Metric("volume_similarity", lambda pair: overlap.measure_volume_similarity(pair.counts), "voxel"),
    Metric("boundary_iou", lambda pair: overlap.measure_iou(pair.border_counts), "voxel layer=1"),
    Metric("hd", lambda pair: surface.measure_hd(pair.distances), "{surfaces}", "mm", better="lower"),
    Metric(
        "hd95",
        lambda pair: surface.measure_hd95(pair.distances, pair.definition),
        "{surfaces}",
        "mm",
        better="lower",
    ),
    Metric("assd", lambda pair: surface.measure_assd(pair.distances), "{surfaces}", "mm", better="lower"),
    Metric("masd", lambda pair: surface.measure_masd(pair.distances), "{surfaces}", "mm", better="lower"),
    Metric(
        "nsd",
        lambda pair: surface.measure_nsd(pair.distances, pair.tolerance_mm),
        "{surfaces} tol={tolerance_mm:g}mm",
    ),
    *VOLUME_METRICS,
    *LESION_METRICS,
):
    METRICS.add(_metric.name)(_metric)

# Rows of its own: metric "dice", an instance number per lesion of the reference.
METRICS.add("lesion_dice")(
    Metric("dice", None, "{matching}", measure_lesions=lambda pair: pair.lesions.dice),
)

DEFAULT_METRICS = (
    "dice",
    "iou",
    "mean_iou",
    "sensitivity",
    "precision",
    "specificity",
    "volume_similarity",
    "boundary_iou",
    "hd",
    "hd95",
    "assd",
    "masd",
    "nsd",
    "predicted_volume_ml",
    "reference_volume_ml",
    "lesion_f1",
    "lesion_precision",
    "lesion_recall",
    "pq",
    "false_negative_volume_ml",
    "false_positive_volume_ml",
    "lesion_dice",
    "lesion_found",
    "lesion_volume_ml",
    "predicted_lesion_real",
    "predicted_lesion_volume_ml",
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
