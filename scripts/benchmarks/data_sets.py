"""The data sets of the benchmarks: where they are, their validation cases, and the score of masks."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NAMES = ("hippocampus", "sarcoma_mr")
FOLDS, FOLD_SEED = 5, 12345
ENDING = ".nii.gz"


@dataclass(frozen=True)
class Layout:
    """A data set with one channel.

    Args:
        images, masks: folders of ``CASE.nii.gz``.
        channels: number to name, as ``dataset.json`` of the Decathlon has them under ``modality``.
        labels: name to value, without the background.
    """

    images: Path
    masks: Path
    channels: dict[str, str]
    labels: dict[str, int]

    @property
    def cases(self) -> list[str]:
        """The names of all cases, sorted."""
        return sorted(path.name.removesuffix(ENDING) for path in self.masks.glob(f"[!.]*{ENDING}"))


def find_layout(data: Path) -> Layout:
    """What a folder of the Decathlon, or one of MR images beside masks of tumours, holds; ends where it is neither."""
    described = data / "dataset.json"
    if described.is_file():
        content = json.loads(described.read_text("utf-8"))
        labels = {name.lower(): int(value) for value, name in content["labels"].items() if int(value)}
        return Layout(data / "imagesTr", data / "labelsTr", content["modality"], labels)
    if not (data / "images").is_dir() or not (data / "masks").is_dir():
        raise SystemExit(f"{data} holds neither dataset.json nor images and masks")
    return Layout(data / "images", data / "masks", {"0": "MRI"}, {"tumour": 1})


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """``--data``; read it with ``find_data``."""
    parser.add_argument("--data", type=Path, help="the hippocampus data set (default: below $MEDSEG_TEST_DATA)")


def find_data(parser: argparse.ArgumentParser, given: Path | None, name: str = "hippocampus") -> Path:
    """The data set's folder; ends with wrong usage where nothing says where it is."""
    if given is None and not os.environ.get("MEDSEG_TEST_DATA"):
        parser.error("set MEDSEG_TEST_DATA or give --data")
    data = (given or Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / name).resolve()
    if not (data / "dataset.json").is_file() and not (data / "masks").is_dir():
        parser.error(f"{data} holds neither dataset.json nor masks")
    return data


def list_validation_cases(data: Path) -> list[str]:
    """Fold 0 of nnU-Net's split: scikit-learn's KFold(5, shuffle=True, random_state=12345) over the sorted names."""
    names = find_layout(data).cases
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

    layout, rows = find_layout(data), []
    for case in list_validation_cases(data):
        prediction = np.asarray(nibabel.load(masks / f"{case}{ENDING}").dataobj)
        reference = np.asarray(nibabel.load(layout.masks / f"{case}{ENDING}").dataobj)
        if prediction.shape != reference.shape:
            raise SystemExit(f"{masks / case}: shape {prediction.shape}, expected {reference.shape}")
        pairs = [(prediction == value, reference == value) for value in layout.labels.values()]
        rows.append([2 * np.sum(p & r) / (np.sum(p) + np.sum(r)) for p, r in pairs])
    return dict(zip(layout.labels, np.mean(rows, axis=0).tolist(), strict=True))
