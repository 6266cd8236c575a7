"""The corpus of bad and unusual inputs: every kind of fault that a file can have, and what must become of it.

Each entry builds its file on the spot. Users' files differ from these: what is held here are kinds of fault. New kinds
go into a module of ``tests/corpus`` and into ``ENTRIES``; the tests run every entry through each command that its roles
concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tests.corpus.data_set import DataSet
from tests.corpus.data_sets import DATA_SETS
from tests.corpus.dicom_references import REFERENCES, Reference
from tests.corpus.entry import Entry
from tests.corpus.grid_files import META, NRRD
from tests.corpus.label_files import LABEL_FILES
from tests.corpus.models import MODELS as BAD_MODELS
from tests.corpus.models import BadModel
from tests.corpus.nifti_files import FILES
from tests.corpus.nifti_headers import HEADERS
from tests.corpus.picture_files import PICTURES
from tests.io.dicom_situation import Situation
from tests.io.dicom_situations import SITUATIONS

ENTRIES: tuple[Entry, ...] = (*FILES, *HEADERS, *NRRD, *META, *PICTURES, *LABEL_FILES)
# What is more than a file: data sets, models, trees of DICOM series, references beside a scan.
DATASETS: tuple[DataSet, ...] = DATA_SETS
DICOM_TREES: Mapping[str, Situation] = SITUATIONS
MODELS: tuple[BadModel, ...] = BAD_MODELS
DICOM_REFERENCES: tuple[Reference, ...] = REFERENCES


def list_entries(role: str, *, options: tuple[str, ...] | None = None) -> list[Entry]:
    """The entries that can stand for something, all of them or those read with these words of the command line."""
    return [entry for entry in ENTRIES if role in entry.roles and options in (None, entry.options)]


def write_entries(entries: Iterable[Entry], folder: Path, array: np.ndarray, affine: np.ndarray) -> dict[str, Path]:
    """Build entries in a folder.

    Args:
        entries: which.
        folder: made where it is missing.
        array: voxels (i, j, k) that the files hold where nothing is wrong with those.
        affine: their grid, RAS+ in millimetres.
    Returns:
        entry's name to its file.
    """
    return {entry.name: entry.write(folder, array, affine) for entry in entries}
