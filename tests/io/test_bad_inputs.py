"""Every entry of the corpus, read: refused in one line with file, reason and remedy, or read as what it is."""

import gc
import os

import numpy as np
import pytest

from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import MedsegError, show_name
from medseg.core.labels import LabelScheme
from medseg.io import read_segmentation, read_volume
from tests.bad_inputs import DATASETS, DICOM_REFERENCES, DICOM_TREES, ENTRIES, MODELS, list_entries
from tests.end_to_end.scans import make_scan

HU, LABELS, GRID = make_scan(3)
SCHEME = LabelScheme.make({"organ": 1, "tumour": 2})
PIXELS = np.random.default_rng(5).integers(0, 255, (24, 20, 1)).astype(np.uint8)


def read_as(role, path, entry):
    if role == "mask":
        found = read_segmentation(path, labels=SCHEME)
        return found.array[None], found.geometry
    case = Case(entry.name, (ImageSource(path),), fill_nonfinite="fill" in entry.options)
    volume = read_volume(case)
    return volume.array, volume.geometry


def base_of(role):
    return {"scan": (HU, GRID.affine), "mask": (LABELS, GRID.affine), "picture": (PIXELS, np.eye(4))}[role]


@pytest.mark.parametrize(
    ("entry", "role"),
    [pytest.param(entry, role, id=f"{show_name(entry.name)}-{role}") for entry in ENTRIES for role in entry.roles],
)
def test_each_entry_is_handled_as_it_says(entry, role, tmp_path, caplog):
    array, affine = base_of(role)
    path = entry.write(tmp_path, array, affine)
    if entry.is_refused:
        with pytest.raises(MedsegError) as caught:
            read_as(role, path, entry)
        error = caught.value
        assert error.code in entry.codes, str(error)
        assert entry.says in str(error)
        assert error.file == show_name(str(path)) or error.code == "missing_file"
        assert error.remedy
        assert "\n" not in str(error)
        assert len(str(error)) < 600 + len(str(path))
        return
    found, geometry = read_as(role, path, entry)
    assert entry.says in caplog.text
    assert np.isfinite(found).all()
    if entry.same:
        np.testing.assert_array_equal(found[0], array)
        if role != "picture":
            assert geometry.largest_shift_voxels(GRID) < 1e-3


def test_the_corpus_is_large_and_its_names_are_one_each():
    for entries in (ENTRIES, DATASETS, MODELS, DICOM_REFERENCES):
        assert len({entry.name for entry in entries}) == len(entries) >= 30
    assert len(DICOM_TREES) >= 130
    assert len(list_entries("scan")) + len(list_entries("picture")) >= 150
    assert sum(not entry.is_refused for entry in ENTRIES) >= 40


def test_filled_voxels_take_the_lowest_and_the_highest_value(tmp_path):
    for value, name in ((-np.inf, "low"), (np.nan, "low"), (np.inf, "high")):
        entry = next(entry for entry in ENTRIES if entry.name == "nan_filled")
        path = entry.write(tmp_path, HU, GRID.affine)
        import nibabel as nib

        changed = HU.astype(np.float32)
        changed[4, 5, 6] = value
        nib.save(nib.Nifti1Image(changed, GRID.affine), path)
        filled = read_as("scan", path, entry)[0][0]
        assert filled[4, 5, 6] == (HU.min() if name == "low" else HU.max())
        filled[4, 5, 6] = HU[4, 5, 6]
        np.testing.assert_array_equal(filled, HU)


def test_no_file_stays_open(tmp_path):
    def count():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208

    entries = [entry for entry in list_entries("scan") if entry.is_refused]
    for entry in entries[:1]:
        with pytest.raises(MedsegError):
            read_as("scan", entry.write(tmp_path, HU, GRID.affine), entry)
    before = count()
    for entry in entries[1:]:
        with pytest.raises(MedsegError):
            read_as("scan", entry.write(tmp_path, HU, GRID.affine), entry)
    gc.collect()
    assert count() <= before + 8  # children that wait for further files hold two each
