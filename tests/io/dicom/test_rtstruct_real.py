"""RTSTRUCTs of three sarcoma patients: the masks that other software made of them, voxel for voxel."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.grids import align_volume
from medseg.io import open_dataset, read_image, read_volume
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from medseg.io.dicom.roi_names import RoiRule, RoiRules
from medseg.io.dicom.rtstruct_masks import draw_structures
from medseg.io.dicom.rtstruct_read import read_structure_set
from medseg.io.masks import read_segmentation
from medseg.tools.import_dicom import import_dicom

DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "/nonexistent")) / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="MEDSEG_TEST_DATA is not set or has no folder data")
RULES = RoiRules(labels={"tumour": RoiRule(patterns=("gtv_mass*",))})
MASKS = {"CT": "sarcoma_ct_pet/CT/masks", "PET": "sarcoma_ct_pet/PET/masks", "MR_T1": "sarcoma_mr/masks"}


@pytest.mark.parametrize("patient", ["STS_001", "STS_002", "STS_003"])
@pytest.mark.parametrize("modality", MASKS)
def test_contours_give_the_masks_of_other_software(patient: str, modality: str) -> None:
    tree = find_series(DATA / "sarcoma_dicom" / patient / modality)
    (image,) = tree.images
    (contours,) = (series for series in tree.series if series.kind == "contours")
    _, source, _ = read_series(image)
    structures = read_structure_set(contours.files[0])
    segmentation, uses, notes = draw_structures(structures, RULES, source)
    expected = read_segmentation(DATA / MASKS[modality] / f"{patient}.nii.gz", like=source.geometry)
    np.testing.assert_array_equal(segmentation.array, expected.array)
    assert [(use.label, use.voxels) for use in uses] == [("tumour", int((expected.array > 0).sum()))]
    assert notes == ()


def test_a_tree_becomes_the_data_set_that_others_made_of_it(tmp_path: Path) -> None:
    rules = tmp_path / "rois.json"
    RULES.write(rules)
    result = import_dicom(DATA / "sarcoma_dicom", tmp_path / "out", labels=rules, modality="MR")
    assert [outcome.status for outcome in result.outcomes] == ["done"] * 3
    dataset = open_dataset(tmp_path / "out")
    for case, patient in zip(dataset.cases, ("STS_001", "STS_002", "STS_003"), strict=True):
        for path, folder in ((case.images[0].path, "images"), (case.mask.path, "masks")):
            found, expected = (
                nib.as_closest_canonical(nib.load(file))
                for file in (path, DATA / "sarcoma_mr" / folder / f"{patient}.nii.gz")
            )
            np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
            np.testing.assert_allclose(found.affine, expected.affine, atol=1e-3)


def test_ct_and_pet_become_the_channels_of_one_data_set(tmp_path: Path) -> None:
    rules = tmp_path / "rois.json"
    RULES.write(rules)
    channels = "CT: Modality=CT; PET: Modality=PT"
    result = import_dicom(DATA / "sarcoma_dicom", tmp_path / "out", labels=rules, channels=channels)
    assert [outcome.status for outcome in result.outcomes] == ["done"] * 3
    dataset = open_dataset(tmp_path / "out")
    # Each series is called after its patient, which no data set keeps.
    assert [(rule.channel, rule.as_suv, rule.familiar) for rule in dataset.channel_rules] == [
        ("CT", False, ()), ("PET", True, ()),
    ]  # fmt: skip
    assert "STS" not in (tmp_path / "out" / "dataset.json").read_text()
    for case, patient in zip(dataset.cases, ("STS_001", "STS_002", "STS_003"), strict=True):
        volume = read_volume(case, dataset.channels)
        scans = [read_image(DATA / "sarcoma_ct_pet" / kind / "images" / f"{patient}.nii.gz") for kind in ("CT", "PET")]
        for channel, scan in enumerate(scans):
            expected = align_volume(scan, volume.geometry).array[0]
            np.testing.assert_allclose(volume.array[channel], expected, rtol=1e-3, atol=1e-3)
        mask = read_segmentation(DATA / "sarcoma_ct_pet" / "CT" / "masks" / f"{patient}.nii.gz", like=volume.geometry)
        np.testing.assert_array_equal(read_segmentation(case.mask).array, mask.array)
