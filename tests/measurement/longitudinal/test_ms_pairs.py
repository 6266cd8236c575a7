"""Two FLAIR scans each of two patients with multiple sclerosis, from bright spots to the table of changes."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io import read_image, read_segmentation, write_segmentation
from medseg.measurement.longitudinal import measure_timeline

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
PATIENTS = {"patient01": 203, "patient12": 81}  # days between the scans, patient_info.csv
ROOT = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "ms_longitudinal"
if not ROOT.is_dir():
    pytest.skip("ms_longitudinal is not in MEDSEG_TEST_DATA", allow_module_level=True)


def mark_bright(folder, brain, study):
    """What is brighter than 2.5 standard deviations above the brain's median: lesions, and some bright fluid edges."""
    image = read_image(folder / f"study{study}_FLAIR.nii.gz")
    values = image.array[0][brain]
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    return Segmentation(((image.array[0] > middle + 2.5 * spread) & brain).astype(np.uint8), image.geometry)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ms")
    lines = ["case,patient,day,mask,image"]
    for patient, days in PATIENTS.items():
        brain = read_segmentation(ROOT / patient / "brainmask.nii.gz").array > 0
        for study, day in ((1, 0), (2, days)):
            mask = folder / f"{patient}_{study}.nii.gz"
            write_segmentation(mask, mark_bright(ROOT / patient, brain, study))
            image = ROOT / patient / f"study{study}_FLAIR.nii.gz"
            lines.append(f"{patient}_{study},{patient},{day},{mask},{image}")
    (folder / "timeline.csv").write_text("\n".join(lines) + "\n")
    outcomes, _, text = measure_timeline(
        folder / "timeline.csv", folder / "out", labels=LabelScheme.make({"lesion": 1})
    )
    assert {outcome.status for outcome in outcomes} == {"done"}
    with (folder / "out" / "longitudinal.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return rows, json.loads((folder / "out" / "longitudinal.json").read_text()), text, folder


def test_both_patients_run_end_to_end(followed):
    rows, content, text, _ = followed
    assert {row["patient"] for row in rows} == set(PATIENTS)
    assert {(row["patient"], row["day_to"]) for row in rows} == {(name, str(day)) for name, day in PATIENTS.items()}
    assert [scan["placement"]["method"] for patient in content["patients"] for scan in patient["scans"]] == [
        *("first_scan", "same_grid") * 2
    ]
    assert [line[:14] for line in text.splitlines()].count("patient01, day") == 2


def test_components_are_each_in_one_lesion(followed):
    _, content, _, _ = followed
    for patient in content["patients"]:
        for number in range(len(patient["scans"])):
            held = [tuple(lesion["scans"][number]["instances"]) for lesion in patient["lesions"]]
            listed = sorted(instance for own in set(held) for instance in own)
            assert listed == list(range(1, len(listed) + 1))


@pytest.mark.parametrize("patient", PATIENTS)
def test_what_readers_marked_as_changed_has_changed(followed, patient):
    rows, _, _, folder = followed
    # Where readers marked a change, bright voxels came (patient01) or went (patient12); lesions changed that way too.
    marked = read_segmentation(ROOT / patient / "change_mask.nii.gz").array > 0
    first, second = (
        int((read_segmentation(folder / f"{patient}_{study}.nii.gz").array > 0)[marked].sum()) for study in (1, 2)
    )
    assert first != second
    words = ("new", "grown", "merged") if second > first else ("gone", "shrunk", "split")
    assert any(
        row["patient"] == patient and row["quantity"] == "volume_ml" and row["lesion_id"] and row["change"] in words
        for row in rows
    )
