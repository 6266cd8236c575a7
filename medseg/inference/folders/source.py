"""Segmenting whatever a user names: a scan, a folder of scans, or a data set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from medseg.core.manifest import CaseOutcome
from medseg.inference.folders.cases import predict_cases
from medseg.inference.predictor import Predictor
from medseg.io import find_inputs

logger = logging.getLogger(__name__)


def predict_source(predictor: Predictor, source: str | Path, output: Path, **options: Any) -> list[CaseOutcome]:
    """Segment every scan that is found, and say how the source was read.

    Args:
        predictor: a warm model.
        source: a scan, a folder of scans, or a data set.
        output: the folder for masks and ``run.json``.
        options: as for ``predict_cases``.
    Returns:
        an outcome per case.
    Raises:
        DatasetError: there is no scan at all.
    """
    found = find_inputs(source, len(predictor.model.plan.channels))
    logger.info("%s: read as %s; cases: %d", source, found.layout, len(found.cases))
    return predict_cases(predictor, found, output, **options)
