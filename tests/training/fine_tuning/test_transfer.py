"""Fine-tuning: the started network does what the model did, as far as channels and labels are the same."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.core.errors import ModelError, PlanError
from medseg.core.labels import LabelScheme
from medseg.core.model import Member
from medseg.core.plan import Configuration, NetworkPlan, Plan
from medseg.inference import load_networks, open_model, write_weights
from medseg.inference.model_folder import finish_model
from medseg.networks import build_network
from medseg.training.fine_tuning.starts import open_start, plan_of_model
from medseg.training.fine_tuning.transfer import StartRecord, begin_from
from tests.inference.nnunet.exports import write_model
from tests.training.examples import NETWORK_3D, make_configuration, make_plan

ORGANS = LabelScheme.make({"liver": 1, "spleen": 2})
DEEP = NetworkPlan(
    features=(4, 8, 16),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    kernels=((3, 3, 3),) * 3,
    convolutions=(1, 1, 1),
    decoder_convolutions=(1, 1),
)
RESIDUAL = NETWORK_3D.model_copy(update={"name": "residual_unet"})
BATCH_NORM = NETWORK_3D.model_copy(update={"norm": "batch"})


def plan_for(channels: tuple[str, ...] = ("CT", "PET"), labels: LabelScheme = ORGANS, **options: Any) -> Plan:
    plan = make_plan(make_configuration(channels=len(channels), **options), labels)
    return plan.model_copy(update={"channels": channels})


def only(plan: Plan) -> Configuration:
    return next(iter(plan.configurations.values()))


def build_for(plan: Plan, seed: int = 5) -> nn.Module:
    return build_network(only(plan), plan.count_inputs(only(plan)), plan.labels.channel_count, seed=seed)


def begin(source: Path, plan: Plan, network: nn.Module, **options: Any) -> StartRecord:
    start = open_start(source, only(plan), **options)
    return begin_from(
        network, lambda inputs, outputs: build_network(only(plan), inputs, outputs), start, plan, only(plan), title="x"
    )


def start_network(source: Path, plan: Plan, **options: Any) -> tuple[nn.Module, StartRecord]:
    network = build_for(plan)
    record = begin(source, plan, network, **options)
    return network.eval(), record


def model_network(folder: Path) -> nn.Module:
    model = open_model(folder)
    return load_networks(model, model.record.members[0], (0,), torch.device("cpu"))[0]


def patch(channels: int, plan: Plan) -> Tensor:
    shape = only(plan).patch_size[3 - only(plan).dimensions :]
    return torch.randn(2, channels, *shape, generator=torch.Generator().manual_seed(1))


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "network", [NETWORK_3D, RESIDUAL, BATCH_NORM, DEEP], ids=["plain", "residual", "batch", "deep"]
)
def test_the_same_channels_and_labels_give_the_models_masks_in_any_order(tmp_path: Path, network: NetworkPlan) -> None:
    source = plan_for(network=network)
    write_model(tmp_path, source)
    same, record = start_network(tmp_path, source)
    images = patch(2, source)
    theirs = logits(model_network(tmp_path), images)
    torch.testing.assert_close(logits(same, images), theirs, rtol=0, atol=0)
    assert record.share == 1.0
    assert (record.adapted, record.initialised, record.unused, record.differs) == ((), {}, (), ())
    other = plan_for(("pet", "Ct"), LabelScheme.make({"Spleen": 1, "liver": 4}), network=network)
    turned, record = start_network(tmp_path, other)
    torch.testing.assert_close(logits(turned, images.flip(1)), theirs[:, [0, 2, 1]], rtol=1e-5, atol=1e-5)
    assert record.inputs == {"pet": "PET", "Ct": "CT"}
    assert record.labels == {"background": "background", "Spleen": "spleen", "liver": "liver"}
    heads = {f"heads.{stage}.weight" for stage in range(len(network.features) - 1)}  # fresh biases are 0 in any order
    assert set(record.adapted) == heads | {f"{'stem' if network == RESIDUAL else 'encoder.0.0'}.conv.weight"}
    assert record.initialised == {}


def test_a_new_channel_and_a_new_label_begin_at_zero(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for(("CT",)))
    other = plan_for(("PET", "CT"), LabelScheme.make({"spleen": 1, "tumour": 2, "liver": 3}))
    network, record = start_network(tmp_path, other)
    images = patch(2, other)
    found, theirs = logits(network, images), logits(model_network(tmp_path), images[:, 1:])
    torch.testing.assert_close(found[:, [0, 3, 1]], theirs)
    assert not found[:, 2].any()
    assert record.inputs == {"PET": "0 at first", "CT": "CT"}
    assert record.labels["tumour"] == "new, 0 at first"
    assert set(record.adapted) == {"encoder.0.0.conv.weight", "heads.0.weight", "heads.0.bias"}


def test_a_channel_less_is_left_out(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for(("CT", "PET")))
    network, record = start_network(tmp_path, plan_for(("PET",)))
    theirs = model_network(tmp_path).state_dict()["encoder.0.0.conv.weight"]
    torch.testing.assert_close(network.state_dict()["encoder.0.0.conv.weight"], theirs[:, 1:])
    assert record.inputs == {"PET": "PET"}


def test_channels_of_other_names_pair_up_or_share(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for(("T1", "T2")))
    theirs = model_network(tmp_path).state_dict()["encoder.0.0.conv.weight"]
    network, record = start_network(tmp_path, plan_for(("FLAIR", "T1")))
    torch.testing.assert_close(network.state_dict()["encoder.0.0.conv.weight"], theirs[:, [1, 0]])
    assert record.inputs == {"FLAIR": "T2", "T1": "T1"}
    network, record = start_network(tmp_path, plan_for(("CT",)))
    torch.testing.assert_close(network.state_dict()["encoder.0.0.conv.weight"], theirs.sum(1, keepdim=True))
    assert record.inputs == {"CT": "a share of T1, T2"}


def test_channels_of_one_name_keep_their_order(tmp_path: Path) -> None:
    plan = plan_for(("MR", "MR"))
    write_model(tmp_path, plan)
    _, record = start_network(tmp_path, plan)
    assert record.adapted == ()


def test_one_label_has_the_same_probabilities_with_softmax_and_sigmoid(tmp_path: Path) -> None:
    two = LabelScheme.make({"liver": 1}, output="softmax")
    one = LabelScheme.make({"liver": 1})
    write_model(tmp_path / "softmax", plan_for(labels=two))
    write_model(tmp_path / "sigmoid", plan_for(labels=one))
    images = patch(2, plan_for())
    network, record = start_network(tmp_path / "softmax", plan_for(labels=one))
    theirs = logits(model_network(tmp_path / "softmax"), images).softmax(1)[:, 1:]
    torch.testing.assert_close(logits(network, images).sigmoid(), theirs)
    assert record.labels == {"liver": "liver less background"}
    network, record = start_network(tmp_path / "sigmoid", plan_for(labels=two))
    theirs = logits(model_network(tmp_path / "sigmoid"), images).sigmoid()
    torch.testing.assert_close(logits(network, images).softmax(1)[:, 1:], theirs)
    assert record.labels == {"background": "0 at first", "liver": "liver"}


@pytest.mark.parametrize("theirs", ["softmax", "sigmoid"])
def test_without_a_known_label_the_heads_are_new(tmp_path: Path, theirs: Any) -> None:
    write_model(tmp_path, plan_for(labels=LabelScheme.make({"a": 1}, output=theirs)))
    other = plan_for(labels=LabelScheme.make({"b": 1}))
    network, record = start_network(tmp_path, other)
    assert record.initialised == dict.fromkeys(("heads.0.weight", "heads.0.bias"), "the model knows none of its labels")
    torch.testing.assert_close(network.state_dict()["heads.0.weight"], build_for(other).state_dict()["heads.0.weight"])


def test_the_background_is_known_where_no_label_is(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for())
    other = plan_for(labels=LabelScheme.make({"kidney": 1, "cyst": 2}))
    network, record = start_network(tmp_path, other)
    images = patch(2, other)
    found = logits(network, images)
    torch.testing.assert_close(found[:, 0], logits(model_network(tmp_path), images)[:, 0])
    assert not found[:, 1:].any()
    assert record.labels == {"background": "background", "kidney": "new, 0 at first", "cyst": "new, 0 at first"}


def test_a_deeper_network_takes_the_finest_stages(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for())
    deeper = plan_for(network=DEEP)
    network, record = start_network(tmp_path, deeper)
    ours, theirs = network.state_dict(), model_network(tmp_path).state_dict()
    for name, twin in {"encoder.1.0.conv.weight": "encoder.1.0.conv.weight", "up.1.weight": "up.0.weight"}.items():
        torch.testing.assert_close(ours[name], theirs[twin])
    torch.testing.assert_close(ours["heads.1.weight"], theirs["heads.0.weight"])
    assert "encoder.2.0.conv.weight" in record.initialised
    assert "up.0.weight" in record.initialised
    assert record.unused == ()
    assert 0.1 < record.share < 0.9


def test_other_kernels_are_drawn_anew(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for())
    flat = NETWORK_3D.model_copy(update={"kernels": ((1, 3, 3), (3, 3, 3))})
    _, record = start_network(tmp_path, plan_for(network=flat))
    assert record.initialised["encoder.0.0.conv.weight"] == "4 x 2 x 1 x 3 x 3, the model's is 4 x 2 x 3 x 3 x 3"
    assert "encoder.1.0.conv.weight" in record.taken


def test_where_next_to_nothing_fits_the_remedy_is_the_models_plan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path, plan_for())
    with pytest.raises(PlanError, match=r"% of the network's weights fit") as caught:
        start_network(tmp_path, plan_for(dimensions=2))
    assert caught.value.code == "nothing_fits"
    assert f"--like {tmp_path}" in str(caught.value.remedy)
    with caplog.at_level(logging.INFO, logger="medseg"):
        start_network(tmp_path, plan_for(network=DEEP))
    assert "tensors taken" in caplog.text
    assert "of the weights fit. Plan with the model's network" in caplog.text


def test_another_preparation_is_told(tmp_path: Path) -> None:
    write_model(tmp_path, plan_for())
    plan = plan_for()
    changed = only(plan).model_copy(update={"spacing_mm": (2.0, 1.0, 1.0)})
    plan = plan.model_copy(update={"configurations": {changed.name: changed}, "orientation": "SPL"})
    assert start_network(tmp_path, plan)[1].differs == ("spacing_mm", "axes")


def test_the_stage_after_a_cascades_first_one_begins_without_its_masks(tmp_path: Path) -> None:
    low = make_configuration(channels=2).model_copy(update={"name": "3d_lowres"})
    high = low.model_copy(update={"name": "3d_cascade_fullres", "previous": "3d_lowres"})
    plan = plan_for().model_copy(update={"configurations": {c.name: c for c in (low, high)}})
    member = Member(configuration=high.name, folds=(0,), previous=low.name, previous_folds=(0, 1))
    write_model(tmp_path / "cascade", plan, [member])
    write_model(tmp_path / "low", plan, [Member(configuration=low.name, folds=(0,))])
    second = plan.model_copy(update={"configurations": {high.name: high}})
    network, record = start_network(tmp_path / "low", second)
    images = torch.cat([patch(2, second), torch.ones(2, 2, 8, 8, 8)], 1)
    torch.testing.assert_close(logits(network, images), logits(model_network(tmp_path / "low"), images[:, :2]))
    assert record.inputs["mask of liver"] == "0 at first"
    _, record = start_network(tmp_path / "cascade", second)
    assert record.inputs["mask of liver"] == "mask of liver"
    assert record.adapted == ()
    assert open_start(tmp_path / "cascade", low, 1).fold == 1
    known = plan_of_model(open_model(tmp_path / "cascade"))
    assert {name: c.previous for name, c in known.configurations.items()} == {low.name: None, high.name: low.name}


class Joined(nn.Module):
    """A network of the user's, whose last layer sees the image too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Conv3d(inputs, 6, 3, padding=1)
        self.last = nn.ConvTranspose3d(6 + inputs, outputs, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.last(torch.cat([self.body(x), x], 1))]


def test_a_network_of_the_users_own_is_started_too(tmp_path: Path) -> None:
    source, other = plan_for(), plan_for(labels=LabelScheme.make({"spleen": 1, "liver": 2}))
    model = write_model(tmp_path, source)
    trained = Joined(2, 3)
    write_weights(tmp_path, only(source).name, 0, trained.state_dict())
    finish_model(tmp_path, source, model.record)
    network = Joined(2, 3)
    begin_from(network, Joined, open_start(tmp_path, only(other)), other, only(other), title="x")
    images = patch(2, other)
    torch.testing.assert_close(logits(network, images), logits(trained, images)[:, [0, 2, 1]])


def test_which_network_of_a_model_is_taken(tmp_path: Path) -> None:
    plan = plan_for()
    write_model(tmp_path / "W" / "model", plan, [Member(configuration="3d_fullres", folds=(0, 1))])
    write_model(tmp_path / "all", plan, [Member(configuration="3d_fullres", folds=(0, "all"))])
    configuration = only(plan)
    folder = tmp_path / "W"
    assert [open_start(folder, configuration, fold).fold for fold in (None, 1, 4, "all")] == [0, 1, 0, 0]
    assert [open_start(tmp_path / "all", configuration, fold).fold for fold in (None, 0, 4)] == ["all", 0, "all"]
    assert open_start(folder, configuration, 0).digest != open_start(folder, configuration, 1).digest
    flat = make_configuration(dimensions=2)
    both = plan.model_copy(update={"configurations": {"2d": flat, "3d_fullres": configuration}})
    write_model(tmp_path / "both", both)
    renamed = configuration.model_copy(update={"name": "mine"})
    assert open_start(tmp_path / "both", renamed).configuration.name == "3d_fullres"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    configuration = only(plan_for())
    with pytest.raises(ModelError, match=r"no model\.json"):
        open_start(tmp_path, configuration)
    (tmp_path / "plans.json").touch()
    with pytest.raises(ModelError, match="nnU-Net's model") as caught:
        open_start(tmp_path, configuration)
    assert "medseg import-nnunet" in str(caught.value.remedy)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    plan = plan_for()
    model = write_model(tmp_path, plan)
    network = build_for(plan)
    weights = {**network.state_dict(), "heads.0.bias": torch.full((3,), torch.nan)}
    write_weights(tmp_path, only(plan).name, 0, weights)
    with pytest.raises(ModelError, match="hash"):
        open_start(tmp_path, only(plan))
    finish_model(tmp_path, plan, model.record)
    with pytest.raises(ModelError, match=r"heads\.0\.bias holds numbers that are not finite"):
        begin(tmp_path, plan, network)
