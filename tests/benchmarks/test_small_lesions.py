"""The planted lesions have the sizes and places that are asked for, and strata count them rightly."""

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
from benchmarks import planted_lesions
from benchmarks.lesion_strata import Counts, count_case, count_lesions, format_strata
from benchmarks.planted_lesions import LESION, TUMOUR, Ellipsoid, fill_ellipsoid, plant_data_set, plant_lesions
from scipy import ndimage

SPACING = (1.0, 1.0, 3.0)


@pytest.mark.parametrize("axes_mm", [(8.0, 8.0, 8.0), (12.0, 7.0, 5.0), (3.0, 2.5, 2.0)])
def test_an_ellipsoid_fills_its_volume(axes_mm: tuple[float, float, float]) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    lesion = Ellipsoid(np.array([20.3, 19.8, 30.4]), np.array(axes_mm), rotation)
    share = fill_ellipsoid(lesion, SPACING, [slice(0, 40), slice(0, 40), slice(0, 20)])
    assert share.sum() * math.prod(SPACING) == pytest.approx(4 / 3 * math.pi * math.prod(axes_mm), rel=0.06)
    centre = ndimage.center_of_mass(share) * np.array(SPACING)
    assert np.allclose(centre, lesion.centre_mm, atol=0.05)


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """A block of muscle in air, with fat on one side and a tumour in the middle."""
    monkeypatch.setattr(planted_lesions, "SCANS_WITHOUT", 0.0)
    rng = np.random.default_rng(0)
    image = np.zeros((90, 90, 30), np.float32)
    image[5:85, 5:85, 1:29] = 300
    image[60:85, 5:85, 1:29] = 900
    image += rng.normal(0, 15, image.shape).astype(np.float32)
    tumour = np.zeros(image.shape, bool)
    tumour[35:55, 35:55, 10:20] = True
    return image, tumour


def test_lesions_lie_apart_inside_the_body(scan: tuple[np.ndarray, np.ndarray]) -> None:
    image, tumour = scan
    planted, labels = plant_lesions(image, tumour, SPACING, np.random.default_rng(3))
    assert np.array_equal(labels == TUMOUR, tumour)
    parts, count = ndimage.label(labels == LESION, np.ones((3, 3, 3)))
    assert count > 4
    volumes = np.bincount(parts.ravel())[1:] * math.prod(SPACING) / 1000
    assert 0.03 < volumes.min() < volumes.max() < 2.2
    to_tumour = ndimage.distance_transform_edt(~tumour, SPACING)
    assert to_tumour[labels == LESION].min() > 3
    for number in range(1, count + 1):
        others = ndimage.distance_transform_edt((parts == number) | (parts == 0), SPACING)
        assert others[parts == number].min() > 3
    assert (image[labels == LESION] > 200).all()  # tissue before
    inside = planted[ndimage.binary_erosion(labels == LESION)]
    assert 700 < inside.mean() < 1250  # about fat's signal
    away = ndimage.distance_transform_edt(labels != LESION, SPACING) > 4
    assert np.array_equal(planted[away], np.rint(image[away]).astype(np.int16))


def test_the_same_seed_plants_the_same(tmp_path: Path, scan: tuple[np.ndarray, np.ndarray]) -> None:
    for folder, array in (("images", scan[0]), ("masks", scan[1].astype(np.uint8))):
        (tmp_path / folder).mkdir()
        for case in ("a", "b"):
            file = nibabel.Nifti1Image(array, np.diag([*SPACING, 1]))
            nibabel.save(file, tmp_path / folder / f"{case}.nii.gz")
    counts = [
        plant_data_set(tmp_path, tmp_path / out, ["a", "b"], seed) for out, seed in (("x", 0), ("y", 0), ("z", 1))
    ]
    masks = [np.asarray(nibabel.load(tmp_path / out / "masks" / "b.nii.gz").dataobj) for out in ("x", "y", "z")]
    assert counts[0] == counts[1]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
    assert counts[0]["b"] == ndimage.label(masks[0] == LESION, np.ones((3, 3, 3)))[1]


def test_strata_count_found_missed_and_false(tmp_path: Path) -> None:
    true, predicted = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    true[1:3, 1, 1], predicted[1, 1, 1] = True, True  # 2 voxels, found by one
    true[10:15, 10:15, 10:14] = True  # 100 voxels, missed
    predicted[18, 2, 2] = True  # false
    counts = Counts()
    count_case(predicted, true, 0.04, counts)
    assert (counts.found, counts.missed, counts.false) == ([0.08], [4.0], [0.04])
    assert (counts.recall, counts.precision, counts.f1) == (0.5, 0.5, 0.5)
    small = counts.within(0.0, 0.1)
    assert (small.recall, small.f1) == (1.0, pytest.approx(2 / 3))
    assert counts.within(0.25, 0.5).f1 is None
    for folder, mask in (("true", true), ("predicted", predicted)):
        (tmp_path / folder).mkdir()
        file = nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([4, 2, 5, 1]))
        nibabel.save(file, tmp_path / folder / "a.nii.gz")
    assert count_lesions(tmp_path / "predicted", tmp_path / "true", ["a"], 1) == counts
    large = count_lesions(tmp_path / "predicted", tmp_path / "true", ["a"], 1, minimum_ml=0.05)
    assert (large.found, sorted(large.missed), large.false) == ([], [0.08, 4.0], [])
    table = format_strata({"default": counts})
    assert len(table) == 8
    assert table[-1].split() == ["all", "2", "0.500", "0.500"]
    assert table[2].split() == ["<", "0.1", "ml", "1", "1.000", "0.667"]
