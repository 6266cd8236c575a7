"""What an exported model's files say, and that nnU-Net's network is shown what ours is."""

from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medseg.core.atomic import fault_hook
from medseg.core.errors import ModelError, PlanError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.model import Member, Rule
from medseg.core.plan import NormalisationPlan, Plan
from medseg.core.volume import Volume
from medseg.inference import Model
from medseg.inference.nnunet.export import explain_differences, explain_use, export_nnunet, name_dataset
from medseg.inference.nnunet.export_checkpoint import list_aliases, mirrored_axes, translate_back
from medseg.inference.nnunet.export_labels import arrange_heads, describe_labels, restore_channels
from medseg.inference.nnunet.export_plans import choose_view, make_dataset_json, make_plans
from medseg.networks import build_network
from medseg.preprocessing import prepare_case
from tests.inference.nnunet.exports import DEEP_3D, ONE, ORGANS, REGIONS, make_plan, write_example, write_model
from tests.training.examples import make_configuration

CODES = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]
PLAIN = NormalisationPlan(scheme="none")
FOLDER = "nnUNetTrainer__nnUNetPlans__3d_fullres"


def read_checkpoint(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def make_volume(code: str) -> Volume:
    """A scan of distinct numbers whose axes run to the directions of ``code``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(code):
        world = next(index for index, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[world, axis] = 1 if letter in "RAS" else -1
    array = np.arange(1, 4 * 5 * 6 + 1, dtype=np.int16).reshape(1, 4, 5, 6)
    return Volume(array, Geometry((4, 5, 6), affine), ("c0",))


def show(volume: Volume, plan: Plan) -> np.ndarray:
    """What nnU-Net's network sees: nnU-Net's reader as nibabel does it, then ``transpose_forward``."""
    view = choose_view(plan)
    image = nibabel.Nifti1Image(volume.array[0], volume.geometry.affine)
    if view.reader == "NibabelIOWithReorient":
        image = nibabel.as_closest_canonical(image)
    return np.asarray(image.dataobj).transpose(2, 1, 0).transpose(view.transpose)


@pytest.mark.parametrize("wanted", CODES)
def test_networks_are_shown_the_same_axes(wanted: str) -> None:
    configuration = make_configuration().model_copy(update={"normalisation": (PLAIN,)})
    for order in permutations(range(3)):
        plan = make_plan([configuration], axis_order=order, orientation=wanted)
        only = choose_view(plan).only
        assert (only is None) == (set(wanted) == set("RAS"))
        for code in CODES if only is None else [only]:
            volume = make_volume(code)
            ours = prepare_case(volume, None, plan, configuration).image[0]
            np.testing.assert_array_equal(show(volume, plan), ours)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_files_taken_as_they_lie(order: tuple[int, int, int]) -> None:
    configuration = make_configuration().model_copy(update={"normalisation": (PLAIN,)})
    plan = make_plan([configuration], axis_order=order)
    assert (choose_view(plan).reader, choose_view(plan).only) == ("SimpleITKIO", None)
    for code in CODES:
        volume = make_volume(code)
        np.testing.assert_array_equal(show(volume, plan), prepare_case(volume, None, plan, configuration).image[0])


def test_pictures_have_rows_first() -> None:
    configuration = make_configuration(dimensions=2).model_copy(
        update={"median_shape": (1, 20, 24), "spacing_mm": (None, 0.5, 0.5)}
    )
    plan = make_plan([configuration], channels=("picture",), orientation="SAR")
    view = choose_view(plan)
    assert (view.reader, view.file_ending) == ("NaturalImage2DIO", ".png")
    picture = Volume(np.arange(20, dtype=np.uint8).reshape(1, 4, 5, 1), Geometry((4, 5, 1), np.eye(4)), ("picture",))
    plain = configuration.model_copy(update={"normalisation": (PLAIN,), "spacing_mm": (None, 1.0, 1.0)})
    ours = prepare_case(picture, None, plan, plain).image[0]
    np.testing.assert_array_equal(picture.array[0].transpose(2, 0, 1).transpose(view.transpose), ours)
    assert make_plans(plan, [("2d", None)], "example")["configurations"]["2d"]["spacing"] == [1.0, 1.0]


def test_plans_of_volumes() -> None:
    ct = NormalisationPlan(scheme="ct", mean=90.5, sd=40.25, low=-50, high=210)
    masked = NormalisationPlan(scheme="zscore", inside_mask=True)
    configuration = make_configuration(network=DEEP_3D, patch_size=(8, 16, 16)).model_copy(
        update={"normalisation": (ct, masked), "spacing_mm": (3.0, 0.8, 0.8)}
    )
    plan = make_plan([configuration], channels=("CT", "T1"))
    plans = make_plans(plan, [("3d_fullres", None)], "Dataset001_Example")
    entry = plans["configurations"]["3d_fullres"]
    network = entry["architecture"]["arch_kwargs"]
    assert (entry["spacing"], entry["patch_size"], entry["batch_size"]) == ([3.0, 0.8, 0.8], [8, 16, 16], 2)
    assert entry["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert entry["use_mask_for_norm"] == [False, True]
    assert entry["resampling_fn_data_kwargs"]["order"] == 3
    assert entry["resampling_fn_probabilities_kwargs"]["order"] == 1
    assert network["n_conv_per_stage_decoder"] == [2, 1]  # from the coarsest up, as nnU-Net counts
    assert network["conv_op"] == "torch.nn.modules.conv.Conv3d"
    assert (network["n_stages"], network["strides"][1]) == (3, [1, 2, 2])
    statistics = {"mean": 90.5, "std": 40.25, "percentile_00_5": -50, "percentile_99_5": 210}
    assert plans["foreground_intensity_properties_per_channel"] == {"0": statistics, "1": {}}
    assert plans["transpose_forward"] == [0, 1, 2]
    assert "previous_stage" not in entry


def test_plans_of_slices_have_two_axes() -> None:
    configuration = make_configuration(dimensions=2)
    entry = make_plans(make_plan([configuration]), [("2d", None)], "example")["configurations"]["2d"]
    assert (entry["patch_size"], entry["spacing"]) == ([8, 8], [1.0, 1.0])
    assert entry["median_image_size_in_voxels"] == [20, 24]
    assert entry["architecture"]["arch_kwargs"]["norm_op"] == "torch.nn.modules.instancenorm.InstanceNorm2d"


@pytest.mark.parametrize("forward", list(permutations(range(3))))
def test_transposes_undo_each_other(forward: tuple[int, int, int]) -> None:
    plans = make_plans(make_plan([make_configuration()], axis_order=forward), [("3d_fullres", None)], "example")
    assert [plans["transpose_forward"][axis] for axis in plans["transpose_backward"]] == [0, 1, 2]


def test_channels_are_named_so_that_nnunet_normalises_alike() -> None:
    schemes = [NormalisationPlan(scheme=scheme) for scheme in ("ct", "ct", "zscore", "zscore", "none", "rgb_to_01")]
    configuration = make_configuration().model_copy(update={"normalisation": tuple(schemes)})
    plan = make_plan([configuration], channels=("ct", "CT_1", "CT", "T1", "PET", "red"))
    named = make_dataset_json(plan, schemes)["channel_names"]
    assert list(named) == ["0", "1", "2", "3", "4", "5"]
    assert list(named.values()) == ["ct", "CT", "zscore", "T1", "noNorm", "rgb_to_0_1"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (ORGANS, {"labels": {"background": 0, "organ": 1, "tumour": 2}}),
        (ONE, {"labels": {"background": 0, "tumour": 1}}),
        (REGIONS, {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}),
        (
            LabelScheme.make({"b": 2, "a": 1, "ignore": 255}),
            {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}},
        ),
        (
            LabelScheme.make({"cell": 255}),
            {"labels": {"background": 0, "cell": [255, 255]}, "regions_class_order": [255]},
        ),
        (
            LabelScheme.make({"a": 4, "b": 1}, output="sigmoid"),
            {"labels": {"background": 0, "a": [4, 4], "b": [1, 1]}, "regions_class_order": [4, 1]},
        ),
    ],
)
def test_labels(labels: LabelScheme, expected: dict) -> None:
    found = describe_labels(labels)
    assert found == expected
    assert list(found["labels"]) == list(expected["labels"])  # regions are channels in this order


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LabelScheme.make({"a": 1, "b": 3}), "a 1, b 3; nnU-Net writes 1 to 2"),
        (LabelScheme.make({"whole": [1, 300], "core": [300]}), "a mask value of 300"),
        (LabelScheme.make({"whole": [1, 2], "core": [2]}, output="softmax"), "regions that share a softmax"),
        (LabelScheme.make({"Background": 1, "b": 2}), "'Background'"),
    ],
)
def test_labels_that_nnunet_cannot_write(labels: LabelScheme, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        describe_labels(labels)
    assert caught.value.code == "not_expressible"
    assert caught.value.remedy


def test_two_heads_give_the_sigmoids_mask() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn((5, 4, 4, 4), generator=generator)
    weight, bias = torch.randn((1, 5), generator=generator), torch.zeros(1)
    heads, offsets = arrange_heads(weight, ONE), arrange_heads(bias, ONE)
    features[:, 0, 0, 0] = 0  # a logit of exactly 0 is background for both
    own = torch.einsum("of,fabc->oabc", weight, features) + bias[:, None, None, None]
    theirs = torch.einsum("of,fabc->oabc", heads, features) + offsets[:, None, None, None]
    assert theirs.shape[0] == 2
    torch.testing.assert_close(theirs.argmax(dim=0), (own[0] > 0).long())
    torch.testing.assert_close(restore_channels(theirs[None], ONE)[0], own)


def test_heads_stand_in_the_order_of_the_values() -> None:
    labels = LabelScheme.make({"c": 3, "a": 1, "b": 2})
    head = torch.tensor([0.0, 30.0, 10.0, 20.0])  # background, c, a, b
    assert arrange_heads(head, labels).tolist() == [0.0, 10.0, 20.0, 30.0]
    logits = torch.randn((2, 4, 3, 3, 3), generator=torch.Generator().manual_seed(2))
    theirs = torch.stack([arrange_heads(window, labels) for window in logits])
    torch.testing.assert_close(restore_channels(theirs, labels), logits)
    values = torch.tensor(labels.channel_values())
    torch.testing.assert_close(values[logits.argmax(dim=1)], theirs.argmax(dim=1))


def test_regions_keep_their_heads() -> None:
    head = torch.tensor([1.0, 2.0])
    assert arrange_heads(head, REGIONS) is head
    logits = torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1, 1)
    assert restore_channels(logits, REGIONS) is logits


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("decoder.seg_layers.0.weight", []),
        ("decoder.transpconvs.1.bias", []),
        ("decoder.stages.0.convs.1.norm.bias", ["decoder.stages.0.convs.1.all_modules.1.bias"]),
        (
            "encoder.stages.2.0.convs.0.conv.weight",
            [
                "encoder.stages.2.0.convs.0.all_modules.0.weight",
                "decoder.encoder.stages.2.0.convs.0.conv.weight",
                "decoder.encoder.stages.2.0.convs.0.all_modules.0.weight",
            ],
        ),
        (
            "encoder.stem.convs.0.norm.running_mean",
            [
                "encoder.stem.convs.0.all_modules.1.running_mean",
                "decoder.encoder.stem.convs.0.norm.running_mean",
                "decoder.encoder.stem.convs.0.all_modules.1.running_mean",
            ],
        ),
    ],
)
def test_aliases(name: str, aliases: list[str]) -> None:
    assert list_aliases(name) == [name, *aliases]


@pytest.mark.parametrize(
    ("dimensions", "axes", "expected"),
    [
        (3, (0, 1, 2), (0, 1, 2)),
        (3, (2,), (2,)),
        (3, (), None),
        (2, (1, 2), (0, 1)),
        (2, (0, 2), (1,)),
        (2, (0,), None),
    ],
)
def test_mirrored_axes(dimensions: int, axes: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert mirrored_axes(make_configuration(dimensions=dimensions), axes) == expected


def test_foreign_weights_are_refused() -> None:
    configuration = make_configuration()
    weights = build_network(configuration, 1, 3).state_dict()
    with pytest.raises(ModelError, match="extra"):
        translate_back({**weights, "extra": torch.zeros(1)}, configuration, ORGANS)


def test_files_of_a_fold(tmp_path: Path) -> None:
    configuration = make_configuration(network=DEEP_3D, patch_size=(8, 8, 8))
    model = write_model(
        tmp_path / "model",
        make_plan([configuration], ONE),
        [Member(configuration="3d_fullres", folds=(0, 2, "all"))],
        mirror_axes=(0, 2),
    )
    output = tmp_path / "Dataset123_Example"
    export_nnunet(model, output)
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    folds = {f"{FOLDER}/fold_{fold}/checkpoint_final.pth" for fold in ("0", "2", "all")}
    assert files == folds | {f"{FOLDER}/plans.json", f"{FOLDER}/dataset.json"}
    content = read_checkpoint(output / FOLDER / "fold_2" / "checkpoint_final.pth")
    assert content["trainer_name"] == "nnUNetTrainer"
    assert content["init_args"]["configuration"] == "3d_fullres"
    assert content["init_args"]["fold"] == 2
    assert content["inference_allowed_mirroring_axes"] == (0, 2)
    assert content["init_args"]["plans"] == json.loads((output / FOLDER / "plans.json").read_text())
    assert content["init_args"]["plans"]["dataset_name"] == "Dataset123_Example"
    state = content["network_weights"]
    assert torch.count_nonzero(state["decoder.seg_layers.1.weight"][0]) == 0
    assert state["decoder.seg_layers.1.weight"].shape[0] == 2
    alone = {tensor.untyped_storage().data_ptr(): tensor.nbytes for tensor in state.values()}
    assert (output / FOLDER / "fold_2" / "checkpoint_final.pth").stat().st_size < sum(alone.values()) + 60_000


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    model = write_example(tmp_path / "model")

    def fail(step: str, path: Path) -> None:
        if step == "rename" and path.suffix == ".pth":
            raise OSError(28, "No space left on device", str(path))

    with fault_hook(fail), pytest.raises(OSError, match="No space"):
        export_nnunet(model, tmp_path / "out")
    assert list((tmp_path / "out" / FOLDER / "fold_0").iterdir()) == []


def make_cascade(folder: Path) -> Model:
    full = make_configuration().model_copy(update={"name": "3d_cascade_fullres"})
    low = make_configuration(mirror_axes=(2,)).model_copy(update={"name": "3d_lowres", "spacing_mm": (2.0, 2.0, 2.0)})
    member = Member(configuration="3d_cascade_fullres", folds=(0, 1), previous="3d_lowres", previous_folds=(3,))
    return write_model(folder, make_plan([full, low]), [member], mirror_axes=(0, 1))


def test_cascade(tmp_path: Path) -> None:
    model = make_cascade(tmp_path / "model")
    output = tmp_path / "out"
    export_nnunet(model, output)
    low, full = (output / f"nnUNetTrainer__nnUNetPlans__{name}" for name in ("3d_lowres", "3d_cascade_fullres"))
    assert (low / "fold_3" / "checkpoint_final.pth").is_file()
    assert (full / "fold_1" / "checkpoint_final.pth").is_file()
    configurations = json.loads((full / "plans.json").read_text())["configurations"]
    assert configurations["3d_cascade_fullres"]["previous_stage"] == "3d_lowres"
    assert configurations["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
    second = read_checkpoint(full / "fold_0" / "checkpoint_final.pth")
    assert second["inference_allowed_mirroring_axes"] == (0, 1)
    first = read_checkpoint(low / "fold_3" / "checkpoint_final.pth")
    assert first["inference_allowed_mirroring_axes"] == (2,)
    assert second["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"].shape[1] == 1 + 2
    assert explain_use(model, output)[2].endswith("-prev_stage_predictions MASKS_3d_lowres")
    assert explain_differences(model) == []


def test_members_that_are_averaged(tmp_path: Path) -> None:
    plan = make_plan([make_configuration(), make_configuration(dimensions=2)])
    model = write_model(tmp_path / "model", plan)
    lines = explain_use(model, tmp_path / "out")
    assert all(line.endswith("--save_probabilities") for line in lines[1:3])
    assert lines[3] == "nnUNetv2_ensemble -i MASKS_3d_fullres MASKS_2d -o MASKS"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([Member(configuration="3d_fullres", folds=("final",))], "the fold 'final'"),
        (
            [
                Member(configuration="3d_fullres", folds=(0,)),
                Member(configuration="3d_fullres", folds=(1,)),
            ],
            "two sets of folds",
        ),
    ],
)
def test_members_that_nnunet_has_no_folder_for(members: list[Member], words: str, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", make_plan([make_configuration()]), members)
    with pytest.raises(ModelError, match=words):
        export_nnunet(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_networks_are_refused() -> None:
    network = DEEP_3D.model_copy(update={"name": "transformer"})
    with pytest.raises(PlanError, match="no network 'transformer'"):
        make_plans(make_plan([make_configuration(network=network)]), [("3d_fullres", None)], "example")


def test_differences_are_explained(tmp_path: Path) -> None:
    assert explain_differences(write_example(tmp_path / "same")) == []
    configuration = make_configuration().model_copy(update={"logit_floor": -4.0})
    plan = make_plan([configuration], LabelScheme.make({"a": 1, "b": 2, "ignore": 9}), orientation="SPL")
    rules = (Rule(label="a", keep_largest=True), Rule(label="b", minimum_ml=0.5))
    model = write_model(tmp_path / "other", plan, postprocessing=rules)
    turned, floor, postprocessing = explain_differences(model)
    assert "run to LPS" in turned
    assert "logit_floor -4" in floor
    assert "a: largest component; b: no component under 0.5 ml" in postprocessing
    unsorted = write_example(tmp_path / "unsorted", LabelScheme.make({"b": 2, "a": 1}))
    assert explain_differences(unsorted) == []  # of equally likely labels both take the lowest value
    assert "9" in explain_use(model, tmp_path)[-1]


@pytest.mark.parametrize(
    ("folder", "dataset", "expected"),
    [
        ("Dataset501_Mine", "example", "Dataset501_Mine"),
        ("out", "Dataset004_Hippocampus", "Dataset004_Hippocampus"),
        ("out", "example", "example"),
    ],
)
def test_dataset_name(folder: str, dataset: str, expected: str) -> None:
    plan = make_plan([make_configuration()], dataset=dataset)
    assert name_dataset(plan, Path("results") / folder) == expected
