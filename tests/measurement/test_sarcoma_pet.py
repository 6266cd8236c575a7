"""Uptake of real tumours on PET, and their Hounsfield units on CT, against numpy on the same voxels."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.measurement.folders import measure_folder
from medseg.measurement.pet import PEAK_RADIUS_MM

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
FOLDER = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "sarcoma_ct_pet"
LABELS = LabelScheme.make({"tumour": 1})


def load(modality, kind, case):
    return nibabel.load(next((FOLDER / modality / kind).glob(f"{case}*.nii.gz")))


def measure(modality, output):
    outcomes, rows = measure_folder(
        FOLDER / modality / "masks", output, images=FOLDER / modality / "images", channels=[modality], labels=LABELS
    )
    assert {outcome.status for outcome in outcomes} == {"done"}
    values = {(row.case, row.quantity): row for row in rows if row.instance == 0}
    return sorted({row.case for row in rows}), values


def test_pet(tmp_path):
    cases, rows = measure("PET", tmp_path)
    assert len(cases) == 10
    for case in cases:
        mask, image = load("PET", "masks", case), load("PET", "images", case)
        inside, values = np.asarray(mask.dataobj) > 0, image.get_fdata()
        volume_ml = inside.sum() * abs(np.linalg.det(mask.affine[:3, :3])) / 1000
        assert rows[case, "suv_max"].value == pytest.approx(values[inside].max(), rel=1e-6)
        assert rows[case, "suv_mean"].value == pytest.approx(values[inside].mean(), rel=1e-6)
        assert rows[case, "tlg_total"].value == pytest.approx(values[inside].mean() * volume_ml, rel=1e-6)
        assert rows[case, "tmtv_ml"].value == pytest.approx(volume_ml)
        assert rows[case, "suv_mean"].value < rows[case, "suv_peak"].value < rows[case, "suv_max"].value
    # One patient's peak, sphere by sphere.
    world = np.argwhere(np.ones(values.shape)) @ mask.affine[:3, :3].T
    flat = values.reshape(-1)
    spheres = [((world - centre) ** 2).sum(axis=1) <= PEAK_RADIUS_MM**2 for centre in world[_hottest(values, inside)]]
    assert rows[case, "suv_peak"].value == pytest.approx(max(flat[sphere].mean() for sphere in spheres), rel=1e-6)


def _hottest(values, inside):
    # The 200 hottest voxels of the tumour: the peak lies about one of them.
    candidates = np.flatnonzero(inside)
    return candidates[np.argsort(-values.reshape(-1)[candidates])[:200]]


def test_ct(tmp_path):
    cases, rows = measure("CT", tmp_path)
    for case in cases:
        assert rows[case, "median_intensity"].unit == "HU"
        assert -150 < rows[case, "median_intensity"].value < 150  # fat to muscle
        assert (case, "suv_max") not in rows
