"""The folders and environment variables that nnU-Net needs; standard library only, so that any Python can use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.data_sets import Layout

DATASET_ID = 4
DATASET_NAME = "Dataset004_Benchmark"


def make_raw_folder(layout: Layout, root: Path) -> int:
    """Lay out a data set with one channel as nnU-Net's raw data, by symbolic links.

    Args:
        layout: where its images and masks are.
        root: where ``raw/``, ``preprocessed/`` and ``results/`` will be.
    Returns:
        how many cases there are.
    """
    raw = root / "raw" / DATASET_NAME
    for folder in (raw / "imagesTr", raw / "labelsTr", root / "preprocessed", root / "results"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in layout.cases:
        (raw / "imagesTr" / f"{name}_0000.nii.gz").symlink_to((layout.images / f"{name}.nii.gz").resolve())
        (raw / "labelsTr" / f"{name}.nii.gz").symlink_to((layout.masks / f"{name}.nii.gz").resolve())
    content = {
        "channel_names": layout.channels,
        "labels": {"background": 0, **layout.labels},
        "numTraining": len(layout.cases),  # of those that are here; the data set's own file may list more
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content, indent=1), "utf-8")
    return len(layout.cases)


def make_environment(root: Path) -> dict[str, str]:
    """This process's environment with nnU-Net's variables for two processor cores."""
    return {
        **os.environ,
        "nnUNet_raw": str(root / "raw"),
        "nnUNet_preprocessed": str(root / "preprocessed"),
        "nnUNet_results": str(root / "results"),
        "nnUNet_def_n_proc": "2",
        "nnUNet_n_proc_DA": "2",
        "nnUNet_compile": "f",
        "PYTHONUNBUFFERED": "1",
    }


def find_version(python: str) -> str | None:
    """The version of nnU-Net that a Python has; None where it has none."""
    code = "from importlib.metadata import version; print(version('nnunetv2'))"
    if shutil.which(python) is None:
        return None
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
