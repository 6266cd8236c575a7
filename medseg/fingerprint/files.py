"""A workspace's fingerprint on disk."""

from __future__ import annotations

from dataclasses import replace

from medseg.core.dataset import write_dataset
from medseg.core.errors import DatasetError
from medseg.core.fingerprint import Fingerprint
from medseg.core.workspace import Workspace
from medseg.fingerprint.extract import extract_fingerprint
from medseg.fingerprint.inspection import Inspection


def write_fingerprint(space: Workspace, inspection: Inspection) -> Fingerprint:
    """The fingerprint of an inspected data set: ``W/fingerprint.json``, with ``W/cases.json`` for later steps.

    Args:
        space: where they go.
        inspection: the data set with its usable cases.
    Returns:
        the fingerprint, of the usable cases.
    Raises:
        DatasetError: no case can be used; the first one's fault is named.
    """
    if not inspection.summaries:
        first = next((outcome.line() for outcome in inspection.outcomes), "there is none")
        raise DatasetError(f"no case can be used; the first: {first}", code="no_cases", file=inspection.dataset.root)
    found = extract_fingerprint(inspection.dataset, inspection.summaries)
    dataset = replace(inspection.dataset, notes=(*inspection.dataset.notes, *inspection.warnings))
    write_dataset(space.cases, dataset)
    found.write(space.fingerprint)
    return found
