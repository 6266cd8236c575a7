"""The hippocampus data set of the benchmarks: where it is, its validation cases, and the score of masks."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

LABELS = {"anterior": 1, "posterior": 2}
FOLDS, FOLD_SEED = 5, 12345


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """``--data``; read it with ``find_data``."""
    parser.add_argument("--data", type=Path, help="the hippocampus data set (default: below $MEDSEG_TEST_DATA)")


def find_data(parser: argparse.ArgumentParser, given: Path | None) -> Path:
    """The data set's folder; ends with wrong usage where nothing says where it is."""
    if given is None and not os.environ.get("MEDSEG_TEST_DATA"):
        parser.error("set MEDSEG_TEST_DATA or give --data")
    data = (given or Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "hippocampus").resolve()
    if not (data / "dataset.json").is_file():
        parser.error(f"{data} holds no dataset.json")
    return data


def list_validation_cases(data: Path) -> list[str]:
    """Fold 0 of nnU-Net's split: scikit-learn's KFold(5, shuffle=True, random_state=12345) over the sorted names."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in (data / "labelsTr").glob("[!.]*.nii.gz"))
    order = np.arange(len(names))
    np.random.RandomState(FOLD_SEED).shuffle(order)
    return [names[index] for index in sorted(np.array_split(order, FOLDS)[0])]


def score_masks(masks: Path, data: Path) -> dict[str, float]:
    """Mean Dice of each label over the validation cases, between 0 and 1.

    Args:
        masks: ``CASE.nii.gz`` for every validation case; a missing one is a FileNotFoundError.
        data: with the references, none of which is empty.
    """
    import nibabel  # here, since a machine with a GPU may lack it

    rows = []
    for case in list_validation_cases(data):
        prediction = np.asarray(nibabel.load(masks / f"{case}.nii.gz").dataobj)
        reference = np.asarray(nibabel.load(data / "labelsTr" / f"{case}.nii.gz").dataobj)
        if prediction.shape != reference.shape:
            raise SystemExit(f"{masks / case}: shape {prediction.shape}, expected {reference.shape}")
        pairs = [(prediction == value, reference == value) for value in LABELS.values()]
        rows.append([2 * np.sum(p & r) / (np.sum(p) + np.sum(r)) for p, r in pairs])
    return dict(zip(LABELS, np.mean(rows, axis=0).tolist(), strict=True))
