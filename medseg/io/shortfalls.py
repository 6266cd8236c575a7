"""What a data set's files and lists do not agree on, and which files lie elsewhere: lines for the user."""

from __future__ import annotations

import os
from pathlib import Path

from medseg.core.dataset import Dataset, list_files
from medseg.core.errors import show_name
from medseg.io.naming import Names


def note_shortfall(dataset: Dataset, names: Names) -> tuple[str, ...]:
    """A line where ``dataset.json`` counts other cases than there are: some were not copied, or some do not belong.

    Args:
        dataset: as its layout was read.
        names: what ``dataset.json`` says, ``numTraining`` and ``numTest`` of nnU-Net and the Decathlon among it.
    Returns:
        a line per count that differs; empty where none does or none is stated.
    """
    bad = {problem.case for problem in dataset.problems if problem.case and problem.code != "orphan_mask"}
    found = {"numTraining": len({case.name for case in dataset.cases} | bad), "numTest": len(dataset.test_cases)}
    stated = {key: names.content.get(key) for key in found}
    lines = [
        f"dataset.json says {key} {stated[key]}, found {count} cases"
        for key, count in found.items()
        if isinstance(stated[key], int) and stated[key] != count and (key == "numTraining" or count)
    ]
    return tuple(lines)


def note_elsewhere(dataset: Dataset, folder: Path) -> tuple[str, ...]:
    """A line where files that a list, a table or a link names lie outside the data set's folder.

    Reading them is fine: nnU-Net's lists and users' tables point elsewhere on purpose. What is written never follows
    such a path, as outputs are called after the case and ``refuse_names`` holds those to plain names.

    Args:
        dataset: as its layout was read.
        folder: the data set's, or its table's.
    Returns:
        one line with the number of such files and the first of them; empty where there is none.
    """
    root = os.path.realpath(folder)
    files = dict.fromkeys(path for case in (*dataset.cases, *dataset.test_cases) for path in list_files(case))
    outside = [path for path in files if not _is_below(os.path.realpath(path), root)]
    if not outside:
        return ()
    return (f"{len(outside)} files lie outside {folder}; the first: {show_name(os.path.realpath(outside[0]))}",)


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
