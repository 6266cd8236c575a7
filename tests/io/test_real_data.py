"""Real data sets, read where MEDSEG_TEST_DATA says they are."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.io import open_dataset, read_segmentation, read_volume

DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "/nonexistent")) / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="MEDSEG_TEST_DATA is not set or has no folder data")


def test_hippocampus_as_nibabel_reads_it():
    dataset = open_dataset(DATA / "hippocampus")
    assert len(dataset.cases) == 208
    assert dataset.channels == ("MRI",)
    assert dataset.labels.names == ("Anterior", "Posterior")
    assert dataset.problems == ()
    for case in dataset.cases[::30]:
        volume = read_volume(case, dataset.channels)
        mask = read_segmentation(case.mask, labels=dataset.labels, like=volume.geometry, case=case.name)
        np.testing.assert_array_equal(volume.array[0], np.asarray(nib.load(case.images[0].path).dataobj))
        np.testing.assert_array_equal(mask.array, np.asarray(nib.load(case.mask.path).dataobj))


def test_ct_and_pet_on_one_grid():
    dataset = open_dataset(DATA / "sarcoma_ct_pet")
    assert len(dataset.cases) == 10
    assert dataset.channels == ("CT", "PET")
    case = dataset.cases[0]
    volume = read_volume(case, dataset.channels)
    mask = read_segmentation(case.mask, like=volume.geometry)
    pet = nib.load(case.images[1].path)
    # The tumour takes up tracer, so PET brought onto the CT's grid is hot inside the CT's mask.
    assert volume.array[1][mask.array > 0].mean() > 2 * volume.array[1][mask.array == 0].mean()
    assert volume.array[1].max() <= np.asarray(pet.dataobj).max() + 1e-3


def test_nuclei_in_grey_and_colour():
    dataset = open_dataset(DATA / "nuclei_2d", spacing_mm=(0.5, 0.5))
    assert len(dataset.cases) == 120
    assert dataset.channels == ("red", "green", "blue")
    for case in dataset.cases[::20]:
        volume = read_volume(case, dataset.channels, spacing_mm=dataset.spacing_mm)
        mask = read_segmentation(case.mask, like=volume.geometry, spacing_mm=dataset.spacing_mm)
        assert set(np.unique(mask.array)) <= {0, 1}


def test_sarcoma_mr_and_longitudinal():
    assert len(open_dataset(DATA / "sarcoma_mr").cases) == 38
    longitudinal = open_dataset(DATA / "ms_longitudinal")
    assert longitudinal.channels == ("study1_FLAIR", "study2_FLAIR")
    assert [case.mask.path.name for case in longitudinal.cases] == ["change_mask.nii.gz"] * 2
