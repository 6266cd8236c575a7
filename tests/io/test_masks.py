"""Label maps: values are checked and named, grids compared, structures put together."""

import itertools

import numpy as np
import pytest
from PIL import Image

from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.io import find_labels, find_masks, parse_labels, read_segmentation
from tests.io.trees import save_json, save_mask, save_nifti

SCHEME = LabelScheme.make({"liver": 1, "tumour": 2})


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.int64])
def test_whole_values_of_any_type(tmp_path, dtype):
    values = np.arange(24).reshape(2, 3, 4) % 3
    read = read_segmentation(save_nifti(tmp_path / "x.nii.gz", values, dtype=dtype), labels=SCHEME)
    np.testing.assert_array_equal(read.array, values)
    assert read.array.dtype == np.uint8


def test_large_values_need_sixteen_bits(tmp_path):
    read = read_segmentation(save_nifti(tmp_path / "x.nii.gz", np.full((2, 2, 2), 300)))
    assert read.array.dtype == np.uint16
    assert read.array.max() == 300


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "1 voxels have values not whole numbers: 0.5"),
        (-1, "values outside 0 to 65535: -1"),
        (70000, "values outside 0 to 65535: 70000"),
        (7, r"values that no label has \(liver=1, tumour=2\): 7"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path, value, text):
    values = np.zeros((2, 3, 4))
    values[1, 1, 1] = value
    path = save_nifti(tmp_path / "x.nii.gz", values, dtype=np.float32)
    with pytest.raises(DatasetError, match=text) as caught:
        read_segmentation(path, labels=SCHEME, case="p1")
    assert caught.value.code == "bad_label_values"
    assert caught.value.case == "p1"


def test_many_wrong_values_are_counted_and_the_first_named(tmp_path):
    path = save_nifti(tmp_path / "x.nii.gz", np.arange(24).reshape(2, 3, 4))
    with pytest.raises(DatasetError, match=r"21 voxels .*: 3, 4, 5, 6, 7 and 16 more"):
        read_segmentation(path, labels=SCHEME)


def test_nan_is_refused(tmp_path):
    path = save_nifti(tmp_path / "x.nii.gz", np.full((2, 2, 2), np.nan), dtype=np.float32)
    with pytest.raises(FormatError, match="8 voxels are NaN"):
        read_segmentation(path)


def test_the_ignore_label_is_known(tmp_path):
    scheme = LabelScheme.make({"liver": 1, "ignore": 2})
    read_segmentation(save_mask(tmp_path / "x.nii.gz", np.full((2, 2, 2), 2)), labels=scheme)


def test_another_grid_names_both(tmp_path):
    path = save_mask(tmp_path / "x.nii.gz")
    with pytest.raises(GeometryError, match=r"2x3x4 at 1x1x1 mm.*5x3x4 at 1x1x1 mm") as caught:
        read_segmentation(path, like=Geometry.from_spacing((5, 3, 4), (1, 1, 1)))
    assert caught.value.code == "other_grid"
    shifted = np.eye(4)
    shifted[0, 3] = 0.25
    with pytest.raises(GeometryError, match=r"up to 0\.25 voxels apart"):
        read_segmentation(path, like=Geometry((2, 3, 4), shifted))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_turned_masks_are_turned_back(tmp_path, order, flips, caplog):
    caplog.set_level("INFO")
    values = np.arange(24).reshape(2, 3, 4)
    affine = np.diag([0.5, 0.75, 2.0, 1.0])
    like = Geometry((2, 3, 4), affine)
    turned, moved = values, affine.copy()
    for axis in np.flatnonzero(flips):
        turned = np.flip(turned, axis)
        moved[:3, 3] += moved[:3, axis] * (values.shape[axis] - 1)
        moved[:3, axis] *= -1
    path = save_mask(tmp_path / "x.nii.gz", turned.transpose(order), moved[:, [*order, 3]])
    read = read_segmentation(path, like=like)
    np.testing.assert_array_equal(read.array, values)
    assert read.geometry is like
    assert ("axes turned" in caplog.text) == (order != (0, 1, 2) or any(flips))


def make_structures(folder, **boxes):
    for name, box in boxes.items():
        mask = np.zeros((4, 4, 4))
        mask[box] = 1
        save_mask(folder / f"{name}.nii.gz", mask)
    return MaskSource(folder, tuple((name, folder / f"{name}.nii.gz") for name in sorted(boxes)))


def test_structures_paint_their_values(tmp_path):
    source = make_structures(tmp_path, tumour=np.s_[0], liver=np.s_[1:3], other=np.s_[3])
    read = read_segmentation(source, labels=SCHEME)
    np.testing.assert_array_equal(read.array[:, 0, 0], [2, 1, 1, 0])
    alone = read_segmentation(source)
    np.testing.assert_array_equal(alone.array[:, 0, 0], [3, 1, 1, 2])


def test_structures_that_overlap_or_are_unknown(tmp_path):
    source = make_structures(tmp_path, tumour=np.s_[0:2], liver=np.s_[1:3])
    with pytest.raises(DatasetError, match="'tumour' overlaps an earlier structure in 16 voxels"):
        read_segmentation(source, labels=SCHEME)
    with pytest.raises(DatasetError, match="none of the files"):
        read_segmentation(source, labels=LabelScheme.make({"spleen": 1}))
    save_mask(tmp_path / "liver.nii.gz", np.arange(64).reshape(4, 4, 4))
    with pytest.raises(DatasetError, match="expected 0 and one other"):
        read_segmentation(source, labels=SCHEME)


def test_structures_of_regions(tmp_path):
    scheme = LabelScheme.make({"whole": [1, 2], "core": [2]}, paint_order=[1, 2])
    source = make_structures(tmp_path, whole=np.s_[0:3], core=np.s_[0:1])
    np.testing.assert_array_equal(read_segmentation(source, labels=scheme).array[:, 0, 0], [2, 1, 1, 0])
    outside = make_structures(tmp_path, whole=np.s_[0:1], core=np.s_[1:2])
    with pytest.raises(DatasetError, match="no label value stands for core alone"):
        read_segmentation(outside, labels=scheme)


def test_coloured_masks(tmp_path):
    grey = np.zeros((4, 5, 3), np.uint8)
    grey[1, 2] = 1
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert read_segmentation(tmp_path / "grey.png", labels=SCHEME).array.sum() == 1
    grey[1, 2] = (1, 2, 3)
    Image.fromarray(grey).save(tmp_path / "colour.png")
    with pytest.raises(FormatError, match="3 channels"):
        read_segmentation(tmp_path / "colour.png")


def test_find_masks_in_folders(tmp_path):
    flat = tmp_path / "flat"
    save_mask(flat / "b.nii.gz")
    save_mask(flat / "a.nrrd.nii.gz")
    save_json(flat / "run.json")
    assert {name: source.path.name for name, source in find_masks(flat).items()} == {
        "a.nrrd": "a.nrrd.nii.gz",
        "b": "b.nii.gz",
    }
    assert list(find_masks(flat / "b.nii.gz")) == ["b"]
    per_case = tmp_path / "cases"
    save_mask(per_case / "p1" / "liver.nii.gz")
    save_mask(per_case / "p1" / "tumour.nii.gz")
    save_mask(per_case / "p2" / "t1.nii.gz")
    save_mask(per_case / "p2" / "p2_seg.nii.gz")
    save_mask(per_case / "p3" / "whatever.nii.gz")
    found = find_masks(per_case)
    assert [name for name, _ in found["p1"].structures] == ["liver", "tumour"]
    assert found["p2"] == MaskSource(per_case / "p2" / "p2_seg.nii.gz")
    assert found["p3"] == MaskSource(per_case / "p3" / "whatever.nii.gz")
    root = tmp_path / "set"
    save_mask(root / "masks" / "c.nii.gz")
    save_nifti(root / "images" / "c.nii.gz")
    assert find_masks(root) == {"c": MaskSource(root / "masks" / "c.nii.gz")}


def test_find_masks_refuses(tmp_path):
    with pytest.raises(FormatError, match="neither a folder nor a file"):
        find_masks(tmp_path / "gone")
    with pytest.raises(DatasetError, match="no mask found"):
        find_masks(tmp_path)
    save_mask(tmp_path / "a.nii.gz")
    save_mask(tmp_path / "a.nii")
    with pytest.raises(DatasetError, match="files of one case"):
        find_masks(tmp_path)


@pytest.mark.parametrize("text", ["liver=1,tumour=2", "1=liver, 2=tumour", " liver = 1 ,tumour=2,"])
def test_parse_labels(text):
    assert parse_labels(text) == SCHEME


def test_parse_labels_of_pictures():
    assert parse_labels("255=tumour") == LabelScheme.make({"tumour": 255})


@pytest.mark.parametrize("text", ["liver", "liver=", "=1", "liver=1.5", "liver=-1", "a=1,a=2", "a=1,b=1", "a=b", "="])
def test_parse_labels_refuses(text):
    with pytest.raises(DatasetError):
        parse_labels(text)


def test_labels_beside_masks(tmp_path):
    masks = tmp_path / "labelsTr"
    save_mask(masks / "a.nii.gz")
    assert find_labels(masks) is None
    save_json(tmp_path / "dataset.json", labels={"background": 0, "liver": 1, "tumour": 2})
    assert find_labels(masks) == SCHEME
    assert parse_labels(str(tmp_path / "dataset.json")) == SCHEME
    other = LabelScheme.make({"spleen": 1})
    save_json(masks / "run.json", labels=other.model_dump(mode="json"))
    assert find_labels(masks) == other
