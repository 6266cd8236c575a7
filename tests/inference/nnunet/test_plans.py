"""nnU-Net's plans as ours: axes, spacing, normalisation, labels, networks; absurd ones are refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import MedsegError
from medseg.core.plan import NetworkPlan
from medseg.inference.nnunet.plans import SourcePlan, read_source_plan
from tests.inference.nnunet.folders import (
    DATASET,
    make_configuration,
    make_network,
    make_old_configuration,
    make_plans,
)

NAME = "3d_fullres"


def read(
    folder: Path, plans: dict[str, Any], dataset: dict[str, Any] = DATASET, name: str = NAME, **options: Any
) -> SourcePlan:
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return read_source_plan(folder, name, **options)


def plans_with(**changes: Any) -> dict[str, Any]:
    """Plans with one configuration, of which some entries are changed."""
    return make_plans({NAME: make_configuration(make_network(), **changes)})


def test_a_configuration_is_read(tmp_path: Path) -> None:
    source = read(tmp_path, plans_with(), mirror_axes=(0, 2))
    plan, ours = source.plan, source.plan.configurations[NAME]
    assert (plan.dataset, plan.preset, plan.channels) == ("Dataset007_Liver", "nnunet", ("CT",))
    assert (plan.axis_order, plan.orientation) == ((2, 1, 0), None)
    assert (ours.dimensions, ours.spacing_mm, ours.patch_size) == (3, (3.0, 0.75, 0.5), (8, 8, 8))
    assert ours.median_shape == (20, 30, 31)
    assert ours.network == make_network()
    assert ours.logit_floor is None
    assert ours.training.mirror_axes == (0, 2)
    ct = ours.normalisation[0]
    assert (ct.scheme, ct.mean, ct.sd, ct.low, ct.high) == ("ct", 60.5, 30.25, -80.0, 180.0)
    assert source.previous is None


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_older_format_says_the_same(tmp_path: Path, name: str, dimensions: int) -> None:
    network = make_network(dimensions, name=name, features=(2, 4, 4))
    new = read(tmp_path, make_plans({NAME: make_configuration(network)})).plan
    old = read(tmp_path, make_plans({NAME: make_old_configuration(network)})).plan
    assert new == old
    assert new.configurations[NAME].network == network


def test_slices_get_a_first_axis(tmp_path: Path) -> None:
    plans = make_plans({"2d": make_configuration(make_network(2))})
    ours = read(tmp_path, plans, name="2d", mirror_axes=(0, 1)).plan.configurations["2d"]
    assert (ours.dimensions, ours.patch_size, ours.spacing_mm) == (2, (1, 8, 8), (None, 0.75, 0.5))
    assert ours.median_shape == (20, 30, 31)
    assert ours.training.mirror_axes == (1, 2)


@pytest.mark.parametrize(
    ("reader", "forward", "order", "orientation"),
    [
        ("SimpleITKIO", (0, 1, 2), (2, 1, 0), None),
        ("SimpleITKIO", (1, 0, 2), (1, 2, 0), None),
        ("NibabelIO", (2, 0, 1), (0, 2, 1), None),
        ("NibabelIOWithReorient", (0, 1, 2), (2, 1, 0), "SAR"),
        ("SimpleITKIOWithReorient", (2, 0, 1), (0, 2, 1), "RSA"),
        ("NaturalImage2DIO", (0, 1, 2), (2, 0, 1), None),
        ("Tiff3DIO", (1, 2, 0), (0, 1, 2), None),
    ],
)
def test_axes_are_the_readers_transposed(
    tmp_path: Path, reader: str, forward: tuple[int, ...], order: tuple[int, ...], orientation: str | None
) -> None:
    plan = read(tmp_path, plans_with() | {"image_reader_writer": reader, "transpose_forward": list(forward)}).plan
    assert (plan.axis_order, plan.orientation) == (order, orientation)


def test_every_normalisation_is_known(tmp_path: Path) -> None:
    names = ["CT", "ZScore", "ZScore", "RescaleTo01", "RGBTo01", "No"]
    plans = plans_with(
        normalization_schemes=[f"{name}Normalization" for name in names],
        use_mask_for_norm=[True, True, False, True, False, True],
    )
    dataset = DATASET | {"channel_names": {str(index): name for index, name in enumerate(names)}}
    found = read(tmp_path, plans, dataset).plan.configurations[NAME].normalisation
    assert [channel.scheme for channel in found] == ["ct", "zscore", "zscore", "rescale_to_01", "rgb_to_01", "none"]
    assert [channel.inside_mask for channel in found] == [False, True, False, False, False, False]


@pytest.mark.parametrize(
    ("labels", "order", "channels", "values", "output"),
    [
        ({"background": 0, "b": 2, "a": 1}, None, ("a", "b"), (0, 1, 2), "softmax"),
        ({"background": 0, "only": 1}, None, ("only",), (0, 1), "softmax"),
        ({"background": 0, "a": 1, "ignore": 2}, None, ("a",), (0, 1), "softmax"),
        ({"background": 0, "whole": [1, 2], "core": [2]}, [1, 2], ("whole", "core"), (1, 2), "sigmoid"),
        ({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, [1, 2], ("whole", "core"), (1, 2), "sigmoid"),
        ({"background": 0, "b": [2, 2], "a": 1}, [7, 8], ("b", "a"), (7, 8), "sigmoid"),
    ],
    ids=["by value", "one class", "ignore", "regions", "regions with ignore", "listed twice"],
)
def test_labels_are_channels_as_nnunet_has_them(
    tmp_path: Path, labels: Any, order: Any, channels: Any, values: Any, output: str
) -> None:
    scheme = read(tmp_path, plans_with(), DATASET | {"labels": labels, "regions_class_order": order}).plan.labels
    assert (scheme.names, scheme.channel_values(), scheme.output) == (channels, values, output)
    assert scheme.ignore == labels.get("ignore")


def test_modality_is_the_older_name_of_channels(tmp_path: Path) -> None:
    dataset = {key: value for key, value in DATASET.items() if key != "channel_names"}
    assert read(tmp_path, plans_with(), dataset | {"modality": {"0": "MR"}}).plan.channels == ("MR",)


def test_a_configuration_may_inherit(tmp_path: Path) -> None:
    plans = plans_with()
    plans["configurations"]["mine"] = {"inherits_from": "large", "batch_size": 5}
    plans["configurations"]["large"] = {"inherits_from": NAME, "patch_size": [16, 16, 16], "batch_size": 3}
    ours = read(tmp_path, plans, name="mine").plan.configurations["mine"]
    assert (ours.patch_size, ours.batch_size) == ((16, 16, 16), 5)
    plans["configurations"]["large"]["inherits_from"] = "mine"
    with pytest.raises(MedsegError, match="inherits from itself"):
        read(tmp_path, plans, name="mine")


def test_a_cascade_names_its_first_stage(tmp_path: Path) -> None:
    assert read(tmp_path, plans_with(previous_stage="3d_lowres")).previous == "3d_lowres"


def test_batch_norm_of_the_trainer_wins_over_the_plan(tmp_path: Path) -> None:
    network = read(tmp_path, plans_with(), batch_norm=True).plan.configurations[NAME].network
    assert network == make_network(norm="batch")


@pytest.mark.parametrize(
    "network",
    [make_network(bias=False), make_network(norm="batch", norm_epsilon=1e-3), make_network(slope=0.2)],
    ids=["no bias", "batch norm", "slope"],
)
def test_variants_of_the_network_are_kept(tmp_path: Path, network: NetworkPlan) -> None:
    assert read(tmp_path, make_plans({NAME: make_configuration(network)})).plan.configurations[NAME].network == network


def test_one_number_may_stand_for_every_stage(tmp_path: Path) -> None:
    plans = plans_with()
    plans["configurations"][NAME]["architecture"]["arch_kwargs"].update(
        kernel_sizes=3, strides=[1, 2, [2, 1, 2]], n_conv_per_stage=2, n_conv_per_stage_decoder=1, features_per_stage=4,
        nonlin="torch.nn.modules.activation.ReLU", nonlin_kwargs=None,
    )  # fmt: skip
    network = read(tmp_path, plans).plan.configurations[NAME].network
    assert network.kernels == ((3, 3, 3),) * 3
    assert network.strides == ((1, 1, 1), (2, 2, 2), (2, 1, 2))
    assert (network.features, network.convolutions, network.decoder_convolutions) == ((4,) * 3, (2,) * 3, (1,) * 2)
    assert network.slope == 0.0


def change(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one entry changed; ``path`` is keys with dots, a number is a place in a list."""
    content = copy.deepcopy(content)
    *keys, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    inner: Any = content
    for key in keys:
        inner = inner[str(key) if isinstance(inner, dict) else key]
    inner[last] = value
    return content


CONFIGURATION, ARCHITECTURE = f"configurations.{NAME}", f"configurations.{NAME}.architecture.arch_kwargs"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (f"{CONFIGURATION}.patch_size", [8, 8, -8], "patch_size"),
        (f"{CONFIGURATION}.patch_size", [10**9, 8, 8], "patch_size"),
        (f"{CONFIGURATION}.patch_size", [65536, 65536, 8], "65536 x 65536 x 8"),
        (f"{CONFIGURATION}.patch_size", [8, 8, 9], "not divisible"),
        (f"{CONFIGURATION}.patch_size", [8], "patch_size"),
        (f"{CONFIGURATION}.spacing", [1.0, 0.0, 1.0], "spacing"),
        (f"{CONFIGURATION}.spacing", [1.0, 1e9, 1.0], "spacing"),
        (f"{CONFIGURATION}.spacing", [1.0, float("nan"), 1.0], "spacing"),
        (f"{CONFIGURATION}.spacing", [1.0, 1.0], "spacing of 2 axes"),
        (f"{CONFIGURATION}.batch_size", 0, "batch_size"),
        (f"{CONFIGURATION}.normalization_schemes", ["CTNormalization"] * 2, "2 normalization_schemes for 1 channels"),
        (f"{CONFIGURATION}.normalization_schemes", ["MyNormalization"], "MyNormalization"),
        (f"{CONFIGURATION}.preprocessor_name", "MyPreprocessor", "preprocessor_name"),
        (f"{CONFIGURATION}.resampling_fn_data", "resample_torch_fornnunet", "resample_torch_fornnunet"),
        (f"{CONFIGURATION}.resampling_fn_probabilities_kwargs.order", 0, "resamples probabilities"),
        (f"{CONFIGURATION}.architecture.network_class_name", "my.SwinUNETR", "SwinUNETR"),
        (f"{CONFIGURATION}.architecture", 3, "neither architecture"),
        (f"{ARCHITECTURE}.n_stages", 10**9, "n_stages"),
        (f"{ARCHITECTURE}.n_stages", 1, "n_stages"),
        (f"{ARCHITECTURE}.n_stages", 4, "features_per_stage, .* have 3 entries, expected 4"),
        (f"{ARCHITECTURE}.features_per_stage", [2, 3, 10**9], "features_per_stage"),
        (f"{ARCHITECTURE}.features_per_stage", [2, -3, 4], "features_per_stage"),
        (f"{ARCHITECTURE}.features_per_stage", [1] * 10**5, "100000 entries"),
        (f"{ARCHITECTURE}.features_per_stage", [], "features_per_stage has 0 entries, expected 3"),
        (f"{ARCHITECTURE}.features_per_stage", [9999] * 3, r"features_per_stage.0, .* 4096, found 9999$|found 9999\."),
        (f"{ARCHITECTURE}.kernel_sizes.1", [3, 2, 3], "even"),
        (f"{ARCHITECTURE}.kernel_sizes.1", [3, 3], "axes"),
        (f"{ARCHITECTURE}.kernel_sizes.1", [3, 3, 999], "kernel_sizes"),
        (f"{ARCHITECTURE}.strides.0", [1, 2, 1], "the strides \\[1, 2, 1\\], expected 1"),
        (f"{ARCHITECTURE}.strides.1", [0, 2, 1], "strides"),
        (f"{ARCHITECTURE}.n_conv_per_stage", [1, 2, 10**6], "n_conv_per_stage"),
        (f"{ARCHITECTURE}.norm_op", "torch.nn.GroupNorm", "GroupNorm"),
        (f"{ARCHITECTURE}.norm_op_kwargs", {"eps": 1e-5, "affine": False}, "affine"),
        (f"{ARCHITECTURE}.nonlin", "torch.nn.GELU", "GELU"),
        (f"{ARCHITECTURE}.nonlin_first", True, "nonlin_first"),
        (f"{ARCHITECTURE}.conv_op", "torch.nn.modules.conv.Conv2d", "Conv2d"),
        (f"{ARCHITECTURE}.stem_channels", 7, "stem_channels"),
        (f"{ARCHITECTURE}.squeeze_excitation", True, "squeeze_excitation"),
        ("image_reader_writer", "MyReader", "MyReader"),
        ("transpose_forward", [0, 0, 2], "transpose_forward"),
        ("label_manager", "MyLabels", "label_manager"),
        ("configurations", {}, "no configuration"),
        (
            "foreground_intensity_properties_per_channel",
            {},
            "needs foreground intensities of channel 0",
        ),
        ("foreground_intensity_properties_per_channel.0.std", float("inf"), "std"),
        ("foreground_intensity_properties_per_channel.0.percentile_00_5", 500.0, "from high to low"),
    ],
)
def test_absurd_plans_are_refused_in_one_line(tmp_path: Path, path: str, value: Any, reason: str) -> None:
    with pytest.raises(MedsegError, match=reason) as caught:
        read(tmp_path, change(plans_with(), path, value))
    assert caught.value.file == str(tmp_path / "plans.json")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": {"background": 0, "a": 1, "b": 3}}, "label values"),
        ({"labels": {"a": 1}}, "background"),
        ({"labels": {"background": 0}}, "no label"),
        ({"labels": [1, 2]}, "labels"),
        ({"labels": {"background": 0, "a": -1}}, "'a'"),
        ({"labels": {"background": 0, "ignore": 1, "a": 2}}, "ignore label last"),
        ({"labels": {"background": 0, "a": [1, 2]}}, "regions_class_order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [1, 2]}, "regions_class_order"),
        ({"labels": {"background": 0, "a": [1, 2]}, "regions_class_order": [-1]}, "regions_class_order"),
        ({"channel_names": {}}, "channel_names"),
        ({"channel_names": {"1": "CT"}}, "channel_names"),
        ({"channel_names": "CT"}, "channel_names"),
    ],
)
def test_absurd_data_sets_are_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(MedsegError, match=reason) as caught:
        read(tmp_path, plans_with(), DATASET | changes)
    assert caught.value.file == str(tmp_path / "dataset.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, "1" * 10**5, "\xff"])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plans.json").write_text(text, "latin-1")
    with pytest.raises(MedsegError, match=r"JSON|object|lists|UTF-8"):
        read_source_plan(tmp_path, NAME)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MedsegError) as caught:
        read_source_plan(tmp_path, NAME)
    assert caught.value.file == str(tmp_path / "plans.json")


def test_mirror_axes_must_be_the_patchs(tmp_path: Path) -> None:
    plans = make_plans({"2d": make_configuration(make_network(2))})
    with pytest.raises(MedsegError, match="mirror axes"):
        read(tmp_path, plans, name="2d", mirror_axes=(0, 2))
