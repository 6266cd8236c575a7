"""nnU-Net's own files: read, planned for, written in its layout; bad ones refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import FormatError, PlanError
from medseg.core.plan import NetworkPlan, Plan
from medseg.core.records import read_json
from medseg.planning import PRESETS, plan_from_nnunet, write_plan_from_nnunet
from medseg.planning.as_nnunet import describe_network

STATISTICS = {
    "max": 900.0, "mean": 80.0, "median": 82.0, "min": -300.0, "percentile_00_5": -20.0, "percentile_99_5": 190.0,
    "std": 33.0,
}  # fmt: skip


def write_files(folder: Path, *, fingerprint: dict[str, Any] | None = None, **dataset: Any) -> tuple[Path, Path]:
    """A CT data set of five cases, axes k, j, i, with other entries where given."""
    measured = {
        "spacings": [[2.0, 0.8, 0.9]] * 5,
        "shapes_after_crop": [[60 + n, 160, 144] for n in range(5)],
        "median_relative_size_after_cropping": 1.0,
        "foreground_intensity_properties_per_channel": {"0": STATISTICS},
        **(fingerprint or {}),
    }
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1, "tumour": 2},
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "name": "organs",
        **dataset,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "dataset_fingerprint.json", folder / "dataset.json"
    for path, content in zip(paths, (measured, described), strict=True):
        path.write_text(json.dumps(content))
    return paths


def plan_as_nnunet(paths: tuple[Path, Path], **request: Any) -> dict[str, Any]:
    made = plan_from_nnunet(*paths, as_nnunet=True, **request)
    assert isinstance(made, dict)
    return made


def plan_ours(paths: tuple[Path, Path], **request: Any) -> Plan:
    made = plan_from_nnunet(*paths, **request)
    assert isinstance(made, Plan)
    return made


def test_axes_are_nnunets_in_its_layout_and_the_files_in_ours(tmp_path: Path) -> None:
    """k, j, i there; i, j, k here."""
    paths = write_files(tmp_path)
    theirs, ours = plan_as_nnunet(paths), plan_ours(paths)
    assert theirs["transpose_forward"] == [0, 1, 2]
    assert ours.axis_order == (2, 1, 0)
    full = theirs["configurations"]["3d_fullres"]
    assert full["spacing"] == [2.0, 0.8, 0.9]
    assert full["median_image_size_in_voxels"] == [62.0, 160.0, 144.0]
    assert list(ours.configuration("3d_fullres").patch_size) == full["patch_size"]
    assert theirs["original_median_shape_after_transp"] == [62, 160, 144]


def test_another_axis_may_be_the_coarsest(tmp_path: Path) -> None:
    """Sagittal slices: transposed there, the axis order here."""
    paths = write_files(tmp_path, fingerprint={"spacings": [[0.8, 0.8, 3.0]] * 5})
    theirs = plan_as_nnunet(paths)
    assert (theirs["transpose_forward"], theirs["transpose_backward"]) == ([2, 0, 1], [1, 2, 0])
    assert theirs["configurations"]["3d_fullres"]["spacing"] == [3.0, 0.8, 0.8]
    assert plan_ours(paths).axis_order == (0, 2, 1)


@pytest.mark.parametrize(
    ("entries", "shape", "reader"),
    [
        ({"file_ending": ".nii.gz"}, [60, 160, 144], "SimpleITKIO"),
        ({"file_ending": ".nii"}, [60, 160, 144], "NibabelIO"),
        ({"file_ending": ".PNG"}, [1, 160, 144], "NaturalImage2DIO"),
        ({"file_ending": ".tif"}, [1, 160, 144], "NaturalImage2DIO"),
        ({"file_ending": ".tif"}, [60, 160, 144], "Tiff3DIO"),
        ({"overwrite_image_reader_writer": "NibabelIOWithReorient"}, [60, 160, 144], "NibabelIOWithReorient"),
        ({"overwrite_image_reader_writer": "Unheard"}, [60, 160, 144], "SimpleITKIO"),
    ],
)
def test_the_reader_follows_the_files(entries: dict[str, Any], shape: list[int], reader: str, tmp_path: Path) -> None:
    """By their ending, and for .tif by whether they have depth."""
    spacing = [999.0, 1.0, 1.0] if shape[0] == 1 else [2.0, 0.8, 0.9]
    fingerprint = {"shapes_after_crop": [shape] * 5, "spacings": [spacing] * 5}
    paths = write_files(tmp_path, fingerprint=fingerprint, **entries)
    assert plan_as_nnunet(paths)["image_reader_writer"] == reader


def test_pictures_have_rows_along_i(tmp_path: Path) -> None:
    """Rows come second in nnU-Net's arrays and first in our files."""
    fingerprint = {"shapes_after_crop": [[1, 300, 100]] * 5, "spacings": [[999.0, 1.0, 1.0]] * 5}
    paths = write_files(tmp_path, fingerprint=fingerprint, channel_names={"0": "rgb_to_0_1"}, file_ending=".png")
    assert plan_as_nnunet(paths)["configurations"]["2d"]["patch_size"] == [320, 112]
    ours = plan_ours(paths)
    assert ours.axis_order == (2, 1, 0)
    assert ours.configuration("2d").patch_size == (1, 112, 320)


def test_turned_scans_have_an_orientation(tmp_path: Path) -> None:
    """nnU-Net's turning reader shows RAS scans as k, j, i."""
    paths = write_files(tmp_path, overwrite_image_reader_writer="NibabelIOWithReorient")
    assert plan_ours(paths).orientation == "SAR"
    assert plan_ours(write_files(tmp_path)).orientation is None


def test_the_data_set_is_called_after_its_raw_folder(tmp_path: Path) -> None:
    """As nnU-Net does; elsewhere as dataset.json says."""
    assert plan_as_nnunet(write_files(tmp_path / "Dataset012_organs"))["dataset_name"] == "Dataset012_organs"
    assert plan_as_nnunet(write_files(tmp_path / "some"))["dataset_name"] == "organs"


def test_numbered_ct_channels_are_ct_here_and_not_there(tmp_path: Path) -> None:
    """nnU-Net takes a channel's whole name."""
    statistics = {"foreground_intensity_properties_per_channel": {"0": STATISTICS, "1": STATISTICS}}
    fingerprint = {**statistics, "median_relative_size_after_cropping": 0.5}
    paths = write_files(tmp_path, fingerprint=fingerprint, channel_names={"0": "ct", "1": "CT_1"})
    theirs = plan_as_nnunet(paths)["configurations"]["2d"]
    assert theirs["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert theirs["use_mask_for_norm"] == [False, True]
    assert [channel.scheme for channel in plan_ours(paths).configuration("2d").normalisation] == ["ct", "ct"]


def test_a_window_stands_where_nnunet_clips(tmp_path: Path) -> None:
    """In the percentiles, and nowhere else."""
    plain, clipped = (plan_as_nnunet(write_files(tmp_path), window_hu=window) for window in (None, (-100, 250)))
    key = "foreground_intensity_properties_per_channel"
    assert plain[key] == {"0": STATISTICS}
    assert clipped[key] == {"0": {**STATISTICS, "percentile_00_5": -100.0, "percentile_99_5": 250.0}}
    assert {**clipped, key: plain[key]} == plain


def test_nnunet_counts_the_cases_that_dataset_json_names(tmp_path: Path) -> None:
    """Its cap of the batch grows with numTraining; ours with the cases that were measured."""
    small = {"shapes_after_crop": [[40, 48, 40]] * 5, "spacings": [[1.0, 1.0, 1.0]] * 5}
    few, many = (write_files(tmp_path / str(count), fingerprint=small, numTraining=count) for count in (5, 300))
    batches = [plan_as_nnunet(paths)["configurations"]["3d_fullres"]["batch_size"] for paths in (few, many)]
    assert batches[0] == 2
    assert batches[1] > 2
    assert plan_ours(few).configurations == plan_ours(many).configurations


@pytest.mark.parametrize("preset", list(PRESETS))
def test_plans_are_written(preset: str, tmp_path: Path) -> None:
    """Ours for every preset, nnU-Net's for its own."""
    paths, output = write_files(tmp_path), tmp_path / "plan.json"
    made = write_plan_from_nnunet(*paths, output, preset=preset)
    assert read_json(output) == made
    assert Plan.read(output).preset == preset
    if preset == "cpu":
        with pytest.raises(PlanError, match="no preset 'cpu'"):
            write_plan_from_nnunet(*paths, output, preset=preset, as_nnunet=True)
    else:
        assert made != write_plan_from_nnunet(*paths, output, preset=preset, as_nnunet=True)
        assert read_json(output)["configurations"]["2d"]["architecture"]["arch_kwargs"]["n_stages"] == 6


@pytest.mark.parametrize(
    ("fingerprint", "dataset", "message"),
    [
        ({"spacings": [[1.0, 1.0, 1.0]] * 4}, {}, "5 shapes for 4 spacings"),
        ({"spacings": [[1.0, -1.0, 1.0]] * 5}, {}, "spacings.0.1"),
        ({"shapes_after_crop": [], "spacings": []}, {}, "shapes_after_crop"),
        ({"foreground_intensity_properties_per_channel": {}}, {}, "intensities of the channels none"),
        ({}, {"channel_names": {"0": "CT", "1": "PET"}}, "expected 0, 1 of dataset.json"),
        ({}, {"channel_names": {}}, "channel_names"),
        ({}, {"labels": []}, "labels"),
        ({}, {"file_ending": ".dcm"}, "no file_ending"),
        ({}, {"numTraining": 0}, "numTraining"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    fingerprint: dict[str, Any], dataset: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Each with the file and what was expected."""
    paths = write_files(tmp_path, fingerprint=fingerprint, **dataset)
    with pytest.raises(FormatError, match=message) as caught:
        plan_from_nnunet(*paths, as_nnunet=True)
    assert caught.value.file in [str(path) for path in paths]


def test_the_older_word_for_channels_is_known(tmp_path: Path) -> None:
    """``modality``."""
    paths = write_files(tmp_path)
    content = json.loads(paths[1].read_text())
    content["modality"] = content.pop("channel_names")
    paths[1].write_text(json.dumps(content))
    assert plan_ours(paths).channels == ("CT",)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    """No file, no JSON, no object."""
    paths = write_files(tmp_path)
    with pytest.raises(FormatError, match="does not exist"):
        plan_from_nnunet(tmp_path / "none.json", paths[1])
    paths[1].write_text("[1]")
    with pytest.raises(FormatError, match="expected an object"):
        plan_from_nnunet(*paths)
    paths[0].write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        plan_from_nnunet(*paths)


def test_networks_of_others_are_described_as_far_as_nnunet_has_them() -> None:
    """A steeper ReLU is named, another architecture refused."""
    network = NetworkPlan(
        features=(8, 16), strides=((1, 1), (2, 2)), kernels=((3, 3), (3, 3)), convolutions=(2, 2),
        decoder_convolutions=(2,), norm="batch", slope=0.1,
    )  # fmt: skip
    arguments = describe_network(network)["arch_kwargs"]
    assert arguments["nonlin_kwargs"] == {"inplace": True, "negative_slope": 0.1}
    assert arguments["norm_op"] == "torch.nn.modules.batchnorm.BatchNorm2d"
    with pytest.raises(PlanError, match="mednext"):
        describe_network(network.model_copy(update={"name": "mednext_s"}))
