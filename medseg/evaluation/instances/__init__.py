"""Lesions one by one: which were found, how well, and how surely."""

from medseg.evaluation.instances.detection import (
    Detections,
    FrocPoint,
    detect_lesions,
    measure_average_precision,
    measure_froc_mean,
    pool_detections,
    score_instances,
    trace_froc,
)
from medseg.evaluation.instances.matching import (
    ANY_OVERLAP,
    HALF_IOU,
    LesionMatch,
    Matching,
    match_lesions,
    match_overlaps,
    parse_matching,
)
from medseg.evaluation.instances.overlaps import LesionOverlaps, count_overlaps, overlap_lesions
from medseg.evaluation.instances.scores import (
    count_false_voxels,
    count_missed_voxels,
    measure_lesion_f1,
    measure_lesion_precision,
    measure_lesion_recall,
    measure_panoptic_quality,
    measure_segmentation_quality,
)

__all__ = [
    "ANY_OVERLAP",
    "HALF_IOU",
    "Detections",
    "FrocPoint",
    "LesionMatch",
    "LesionOverlaps",
    "Matching",
    "count_false_voxels",
    "count_missed_voxels",
    "count_overlaps",
    "detect_lesions",
    "match_lesions",
    "match_overlaps",
    "measure_average_precision",
    "measure_froc_mean",
    "measure_lesion_f1",
    "measure_lesion_precision",
    "measure_lesion_recall",
    "measure_panoptic_quality",
    "measure_segmentation_quality",
    "overlap_lesions",
    "parse_matching",
    "pool_detections",
    "score_instances",
    "trace_froc",
]
