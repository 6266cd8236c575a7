"""What a match of lesions is worth."""

from __future__ import annotations

from medseg.evaluation.instances.matching import LesionMatch


def measure_lesion_precision(match: LesionMatch) -> float | None:
    """Which part of the predicted lesions is real, 0 to 1; None where none was predicted."""
    return sum(match.real) / match.prediction_count if match.prediction_count else None


def measure_lesion_recall(match: LesionMatch) -> float | None:
    """Which part of the real lesions was found, 0 to 1; None where there is none."""
    return match.found / match.reference_count if match.reference_count else None


def measure_lesion_f1(match: LesionMatch) -> float | None:
    """The harmonic mean of lesion precision and recall, 0 to 1; None where neither mask has a lesion.

    One to one it is the recognition quality (RQ) too: true positives over those, half the false and half the missed.
    """
    precision, recall = measure_lesion_precision(match), measure_lesion_recall(match)
    if precision is None and recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


def measure_segmentation_quality(match: LesionMatch) -> float | None:
    """The segmentation quality: the mean IoU of the lesions that were found.

    Args:
        match: one to one, with an IoU of 0.5 or more.
    Returns:
        0 to 1; None where none was found.
    Source: Kirillov et al., CVPR 2019, pages 9404-9413, equation 1 (SQ); there a match needs an IoU above 0.5, here
        0.5 is enough.
    """
    return sum(match.iou) / match.found if match.found else None


def measure_panoptic_quality(match: LesionMatch) -> float | None:
    """The panoptic quality: segmentation quality times recognition quality.

    Args:
        match: one to one, with an IoU of 0.5 or more.
    Returns:
        0 to 1; 0 where no lesion was found, None where neither mask has one.
    Source: Kirillov et al., CVPR 2019, pages 9404-9413, equation 1 (PQ); a match as in
        ``measure_segmentation_quality``.
    """
    recognition = measure_lesion_f1(match)
    return (measure_segmentation_quality(match) or 0.0) * recognition if recognition is not None else None


def count_missed_voxels(match: LesionMatch) -> int:
    """How many voxels the real lesions hold that were missed as a whole."""
    return sum(size for size, partner in zip(match.reference_voxels, match.partners, strict=True) if not partner)


def count_false_voxels(match: LesionMatch) -> int:
    """How many voxels the predicted lesions hold that belong to no real one."""
    return sum(size for size, real in zip(match.prediction_voxels, match.real, strict=True) if not real)
