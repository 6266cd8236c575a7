"""Segmenting whatever a user names: a scan, a folder of scans, or a data set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from medseg.core.errors import DatasetError
from medseg.core.manifest import CaseOutcome
from medseg.inference.folders.cases import predict_cases
from medseg.inference.folders.objects import Contours, ObjectOptions, SegType
from medseg.inference.predictor import Predictor
from medseg.io import find_inputs
from medseg.io.dicom.recognition import is_dicom_tree

logger = logging.getLogger(__name__)


def predict_source(
    predictor: Predictor,
    source: str | Path,
    output: Path,
    *,
    tilt: str = "refuse",
    gaps: str = "refuse",
    register: str = "refuse",
    rules: str | None = None,
    contours: Contours = "exact",
    seg_type: SegType = "binary",
    follow: str | Path | None = None,
    with_identity: bool = False,
    **options: Any,
) -> list[CaseOutcome]:
    """Segment every scan that is found, and say how the source was read.

    Args:
        predictor: a warm model.
        source: a scan, a folder of scans, a data set, or a tree of DICOM files.
        output: the folder for masks and ``run.json``.
        tilt, gaps: of DICOM: what becomes of a tilted gantry's planes (``refuse``, ``resample``) and of missing slices
            (``refuse``, ``interpolate``).
        register: of DICOM: what becomes of channels of other frames of reference (``refuse``, ``rigid``).
        rules: of DICOM: which series is which channel, as ``settle_rules`` reads it; by the model's own rules, else by
            the channels' names, where None.
        contours, seg_type, follow: of the DICOM objects that are written (``ObjectOptions``).
        with_identity: of DICOM: whether files are named after patient, study and series; by keys that tell nobody
            where False.
        options: as for ``predict_cases``.
    Returns:
        an outcome per case.
    Raises:
        DatasetError: there is no scan at all, or rules for files that are no DICOM.
    """
    channels, dicom = predictor.model.plan.channels, None
    if is_dicom_tree(source):
        from medseg.io.dicom.channel_rules import unite_rules
        from medseg.io.dicom.scans import find_scans

        known = unite_rules([model.record.channel_rules for model in predictor.models], rules)
        dicom = find_scans(source, channels, rules=rules, known=known, tilt=tilt, gaps=gaps, register=register)
        origin = "--channels" if rules else "the model's rules" if known else "the channels' names"
        logger.info("%s: series by %s: %s", source, origin, dicom.tell_rules())
        for line in dicom.tell_left():
            logger.info("%s: %s", source, line)
        if with_identity:
            from medseg.io.dicom.identity_names import name_by_identity

            dicom = name_by_identity(dicom)
    elif with_identity:
        raise DatasetError(
            "--with-identity names files after the patients of DICOM scans, and there is none", code="bad_option",
            file=source, remedy="Leave it out: masks are named after their scans' files",
        )  # fmt: skip
    elif rules is not None:
        raise DatasetError(
            "--channels says which DICOM series is which channel, and there is none", code="bad_rule", file=source,
            remedy="Leave it out: files tell their channel by their names, CASE_0000 and so on",
        )  # fmt: skip
    found = find_inputs(source, len(channels)) if dicom is None else dicom.dataset
    logger.info("%s: read as %s; cases: %d", source, found.layout, len(found.cases))
    objects = ObjectOptions(contours, seg_type, None if follow is None else Path(follow))
    return predict_cases(predictor, found, output, dicom=dicom, objects=objects, **options)
