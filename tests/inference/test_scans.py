"""The same scan in every form is the same volume, and gives the same mask."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.inference import Predictor
from medseg.inference.scans import as_volume
from medseg.io import write_volume
from tests.core.test_geometry import geometries
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan

NAMES = ("T1", "T2")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class MetaTensor(torch.Tensor):
    """What MONAI's has: values with an affine and a dictionary."""

    affine: torch.Tensor
    meta: dict[str, Any]


MetaTensor.__module__ = "monai.data.meta_tensor"


def make_metatensor(array: NDArray[Any], affine: NDArray[Any], **meta: Any) -> MetaTensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array)).as_subclass(MetaTensor)
    tensor.affine, tensor.meta = torch.from_numpy(np.array(affine)), {"space": "RAS", **meta}
    return tensor


def make_itk(array: NDArray[Any], geometry: Geometry) -> Any:
    turned = np.ascontiguousarray(array.transpose(3, 2, 1, 0))
    image: Any = SimpleITK.GetImageFromArray(turned if len(array) > 1 else turned[..., 0], isVector=len(array) > 1)
    affine = LPS @ geometry.affine
    spacing = np.array(geometry.spacing_mm)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def list_forms(volume: Volume) -> dict[str, Any]:
    """A volume as each library holds it."""
    array, geometry = volume.array, volume.geometry
    last = np.moveaxis(array, 0, -1)
    return {
        "volume": volume,
        "nibabel": nib.Nifti1Image(last if len(array) > 1 else last[..., 0], geometry.affine, dtype=array.dtype),
        "SimpleITK": make_itk(array, geometry),
        "MetaTensor": make_metatensor(array, geometry.affine),
        "MetaTensor in LPS": make_metatensor(array, LPS @ geometry.affine, space="LPS"),
    }


@given(geometries(), st.integers(1, 2), st.sampled_from(["uint8", "int16", "int32", "float32"]), st.integers(0, 99))
@settings(max_examples=40)
def test_every_form_is_the_same_volume(geometry: Geometry, count: int, dtype: str, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 200, (count, *geometry.shape)).astype(dtype)
    for name, form in list_forms(Volume(array, geometry, NAMES[:count])).items():
        found = as_volume(form, NAMES[:count])
        np.testing.assert_array_equal(found.array, array, err_msg=name)
        assert found.array.dtype == array.dtype, name
        assert found.geometry.same_grid(geometry), name
        assert found.channels == NAMES[:count]


@given(st.tuples(*[st.floats(0.1, 9.0)] * 3), st.sampled_from(["numpy", "torch"]))
@settings(max_examples=20)
def test_arrays_lie_where_their_spacing_says(spacing: tuple[float, float, float], kind: str) -> None:
    array = np.arange(48, dtype=np.int16).reshape(2, 2, 3, 4)
    form = torch.from_numpy(array) if kind == "torch" else array
    found = as_volume(form, NAMES, spacing_mm=spacing)
    np.testing.assert_array_equal(found.array, array)
    assert found.geometry.same_grid(Geometry.from_spacing((2, 3, 4), spacing))
    alone = as_volume(form[0], NAMES[:1], spacing_mm=spacing)
    np.testing.assert_array_equal(alone.array, array[:1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_model(path, folds=[0])
    return path


def test_every_form_gives_the_same_mask(folder: Path, tmp_path: Path) -> None:
    volume, _ = make_scan(shape=(15, 18, 11))
    volume = Volume(volume.array, Geometry(volume.geometry.shape, np.diag([-1.0, -1, 1, 1])), ("c0",))
    predictor = Predictor.load(folder, device="cpu")
    expected = predictor.predict(volume).segmentation
    for ending in (".nii.gz", ".mha"):
        write_volume(tmp_path / f"scan{ending}", volume)
    forms = list_forms(volume) | {ending: tmp_path / f"scan{ending}" for ending in (".nii.gz", ".mha")}
    forms["loaded"] = nib.load(tmp_path / "scan.nii.gz")
    for name, form in forms.items():
        found = predictor.predict(form).segmentation
        np.testing.assert_array_equal(found.array, expected.array, err_msg=name)
        assert found.geometry.same_grid(expected.geometry), name
    turned = predictor.predict(volume.array[0], spacing_mm=(1, 1, 1)).segmentation
    np.testing.assert_array_equal(turned.array, expected.array)


def test_paths_are_read_with_all_their_channels(tmp_path: Path) -> None:
    volume, _ = make_scan(channels=2)
    paths = [tmp_path / "two" / f"a_000{number}.nii.gz" for number in range(2)]
    for number, path in enumerate(paths):
        write_volume(path, Volume(volume.array[number : number + 1], volume.geometry, ("c",)))
    whole = tmp_path / "whole.nii.gz"
    write_volume(whole, volume)
    for scan in (paths, tuple(map(str, paths)), paths[0], str(paths[1]), tmp_path / "two", whole):
        found = as_volume(scan, NAMES)
        np.testing.assert_array_equal(found.array, volume.array)
        assert found.channels == NAMES
    with pytest.raises(DatasetError, match="2 channels, expected 1"):
        as_volume(paths, NAMES[:1])
    with pytest.raises(FormatError, match="4D"):
        as_volume(whole, NAMES[:1])
    with pytest.raises(DatasetError, match="2 scans, expected one"):
        as_volume(tmp_path / "two", NAMES[:1])
    with pytest.raises(FormatError, match="does not exist"):
        as_volume(tmp_path / "none.nii.gz", NAMES)


def test_pictures_take_two_spacings() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for array in (rows, rows[None]):
        found = as_volume(array, ["grey"], spacing_mm=(0.5, 0.25))
        np.testing.assert_array_equal(found.array[0, :, :, 0], rows)
        assert found.geometry.spacing_mm == (0.5, 0.25, 1.0)


def test_a_volume_s_channels_are_put_into_the_model_s_order() -> None:
    volume, _ = make_scan(channels=2)
    swapped = as_volume(Volume(volume.array, volume.geometry, ("T2", "T1")), NAMES)
    np.testing.assert_array_equal(swapped.array, volume.array[::-1])
    assert swapped.channels == NAMES
    renamed = as_volume(volume, NAMES)  # other names say nothing about the order
    np.testing.assert_array_equal(renamed.array, volume.array)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", ">i2", "float16", "float64", ">f4"])
def test_integers_stay_and_other_numbers_become_float32(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (1, 3, 4, 5)).astype(dtype)
    found = as_volume(array, ["a"], spacing_mm=(1, 1, 1)).array
    np.testing.assert_array_equal(found, array.astype(float))
    expected = {"bool": "uint8", ">i2": "int16"}.get(dtype, "float32" if "f" in dtype else dtype)
    assert found.dtype == expected
    assert found.dtype.isnative


def test_tensors_of_any_type() -> None:
    values = torch.rand(1, 3, 4, 5)
    for tensor in (values.bfloat16(), values.half(), values.double().requires_grad_(), values.permute(0, 3, 2, 1)):
        found = as_volume(tensor, ["a"], spacing_mm=(1, 1, 1)).array
        np.testing.assert_array_equal(found, tensor.detach().float().numpy())
        assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["volume", "nibabel", "SimpleITK", "MetaTensor"])
def test_another_number_of_channels_is_refused_in_one_line(name: str) -> None:
    one, two = (list_forms(make_scan(channels=count)[0])[name] for count in (1, 2))
    with pytest.raises(DatasetError, match=r"^2 channels, expected 1 \(T1\)\. ") as caught:
        as_volume(two, NAMES[:1])
    assert caught.value.code == "channel_count"
    with pytest.raises(DatasetError, match=r"^1 channel, expected 2 \(T1, T2\)\. "):
        as_volume(one, NAMES)


VALUES = np.ones((1, 3, 4, 5), np.float32)


@pytest.mark.parametrize(
    ("scan", "spacing", "error", "text"),
    [
        (VALUES, None, DatasetError, "without a spacing"),
        (VALUES, (1, 1), GeometryError, "expected .channel, i, j."),
        (VALUES[None], (1, 1, 1), GeometryError, "expected .channel, i, j, k."),
        (VALUES, (1, 1, 0), GeometryError, "positive"),
        (VALUES, (1, -1, 1), GeometryError, "positive"),
        (VALUES, (1, 1, float("nan")), GeometryError, "positive"),
        (VALUES, (1e6, 1, 1), GeometryError, "spacing of"),
        (VALUES * np.nan, (1, 1, 1), FormatError, "60 voxels are NaN"),
        (VALUES * 1j, (1, 1, 1), FormatError, "complex"),
        (VALUES.astype(np.float64) * 1e300, (1, 1, 1), FormatError, "60 infinite"),
        (VALUES.astype(object), (1, 1, 1), FormatError, "type object"),
        (VALUES[:, :0], (1, 1, 1), FormatError, "shape"),
        (Volume(VALUES * np.inf, Geometry((3, 4, 5), np.eye(4)), ("a",)), None, FormatError, "infinite"),
        (make_metatensor(VALUES, np.eye(3)), None, GeometryError, "MetaTensor"),
        (make_metatensor(VALUES[..., 0], np.eye(4), spatial_shape=(3, 4)), None, GeometryError, "MetaTensor"),
        (make_metatensor(VALUES[None], np.eye(4)), None, GeometryError, "batch"),
        ([], None, DatasetError, "type list"),
        (7, None, DatasetError, "type int"),
        (None, None, DatasetError, "type NoneType"),
        (SimpleNamespace(affine=np.eye(4)), None, DatasetError, "type SimpleNamespace"),
    ],
)  # fmt: skip
def test_what_is_no_scan_is_refused(scan: Any, spacing: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        as_volume(scan, ["a"], spacing_mm=spacing)
