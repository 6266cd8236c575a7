"""Masks and measurements as DICOM objects, for scans that were read from DICOM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from medseg.core.disk import explain_write
from medseg.inference.folders.writing import OBJECTS
from medseg.inference.predictor import Prediction, Predictor
from medseg.io.dicom.source import DicomSource

_DIGEST_DIGITS = 12  # of a model's hash; DICOM's short texts take 16 characters


def write_objects(
    prediction: Prediction, case: str, output: Path, formats: Sequence[str], predictor: Predictor, source: DicomSource
) -> Iterator[str]:
    """Write a case's mask as SEG or RTSTRUCT and its measurements as SR, each read back before it stands there.

    Args:
        prediction: of the case.
        case: its name, which the files get.
        output: the folder.
        formats: those of ``OBJECTS`` are written; ``sr`` writes the SEG that it refers to, too, with a segment per
            lesion.
        predictor: what made the prediction, for labels and error bars.
        source: the series that the scan was read from.
    Returns:
        an iterator of the files' names within the folder, each as soon as it is written; of none where no such format
        is asked for.
    Raises:
        MedsegError: an object cannot be made of this mask and series, or is not what was meant once it is written.
        ResourceError: the disk is full or the folder cannot be written.
    """
    from medseg.io.dicom.maker import Maker

    labels, mask = predictor.model.plan.labels, prediction.segmentation
    maker = Maker(model=predictor.model.plan.dataset, model_version=predictor.digest[:_DIGEST_DIGITS])
    try:
        if "dicom-seg" in formats or "sr" in formats:
            from medseg.io.dicom.seg_write import write_seg

            lesions = labels.names if "sr" in formats else ()
            seg = write_seg(output / _name(case, "dicom-seg"), mask, labels, source, lesion_labels=lesions, maker=maker)
            yield _name(case, "dicom-seg")
        if "rtstruct" in formats:
            from medseg.io.dicom.rtstruct_write import write_rtstruct

            write_rtstruct(output / _name(case, "rtstruct"), mask, labels, source, maker=maker)
            yield _name(case, "rtstruct")
        if "sr" in formats:
            from medseg.io.dicom.report_sr import write_report
            from medseg.measurement import measure_case

            volumes_ml = prediction.member_volumes_ml or None
            rows = measure_case(
                mask, labels, volume_errors=predictor.volume_errors, member_volumes_ml=volumes_ml, case=case
            )
            write_report(output / _name(case, "sr"), rows, seg, source, maker=maker)
            yield _name(case, "sr")
    except OSError as error:
        raise explain_write(error, output, case) from None


def _name(case: str, kind: str) -> str:
    return f"{case}{OBJECTS[kind]}"
