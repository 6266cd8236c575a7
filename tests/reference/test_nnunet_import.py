"""Imported networks against nnU-Net's own: the same weights, the same logits to the last bit."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("nnunetv2", reason="nnunetv2 (bench group) is not installed")
architectures = pytest.importorskip(
    "dynamic_network_architectures.architectures.unet", reason="nnunetv2 (bench group) is not installed"
)

from medseg.core.plan import NetworkPlan  # noqa: E402
from medseg.inference import load_networks, open_model  # noqa: E402
from medseg.inference.nnunet import find_models, import_model, pair_names, translate_weights  # noqa: E402
from medseg.inference.nnunet.export_checkpoint import list_aliases  # noqa: E402
from medseg.inference.nnunet.plans import read_source_plan  # noqa: E402
from medseg.networks import NETWORKS  # noqa: E402
from tests.inference.nnunet import folders  # noqa: E402

DATA = os.environ.get("MEDSEG_TEST_DATA", "")
MODELS = ("hippocampus_3d", "sarcoma_mr_3d")
INPUTS, OUTPUTS = 2, 3


def make_peer(plan: NetworkPlan) -> nn.Module:
    """nnU-Net's network for a plan of ours, with drawn weights."""
    dimensions = len(plan.kernels[0])
    make_norm = {
        "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
        "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    }[plan.norm][dimensions]
    build = architectures.PlainConvUNet if plan.name == "plain_unet" else architectures.ResidualEncoderUNet
    peer: nn.Module = build(
        INPUTS, len(plan.features), plan.features, {2: nn.Conv2d, 3: nn.Conv3d}[dimensions], plan.kernels,
        plan.strides, list(plan.convolutions), OUTPUTS, list(plan.decoder_convolutions)[::-1], conv_bias=plan.bias,
        norm_op=make_norm, norm_op_kwargs={"eps": plan.norm_epsilon, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True, "negative_slope": plan.slope}, deep_supervision=False,
    )  # fmt: skip
    for tensor in peer.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(0.1, 0.3).abs_()
    return peer.eval()


PLANS = [
    pytest.param(folders.make_network(dimensions, name=name, **changes), id=f"{name}-{dimensions}d-{title}")
    for dimensions in (2, 3)
    for name in ("plain_unet", "residual_unet")
    for title, changes in (
        ("usual", {}),
        ("batch norm", {"norm": "batch", "norm_epsilon": 1e-3}),
        ("no bias", {"bias": False, "slope": 0.2}),
        ("deep", {"convolutions": (2, 3, 2), "features": (4, 4, 6)}),
    )
]


@pytest.mark.parametrize("plan", PLANS)
def test_logits_are_nnunets_to_the_last_bit(plan: NetworkPlan) -> None:
    torch.manual_seed(0)
    peer = make_peer(plan)
    own = NETWORKS.get(plan.name)(plan, INPUTS, OUTPUTS).eval()
    own.load_state_dict(translate_weights(plan, INPUTS, OUTPUTS, peer.state_dict()))
    x = torch.randn(2, INPUTS, *[16] * len(plan.kernels[0]))
    with torch.no_grad():
        assert torch.equal(own(x)[0], peer(x))


@pytest.mark.parametrize("plan", PLANS)
def test_every_name_is_nnunets(plan: NetworkPlan) -> None:
    if plan.norm == "instance":
        named = {alias for name in pair_names(plan).values() for alias in list_aliases(name)}
        assert named == set(make_peer(plan).state_dict())


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
def test_the_older_format_is_read_as_nnunet_reads_it(tmp_path: Path, name: str) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    network = folders.make_network(name=name, features=(2, 4, 4))
    old = folders.make_plans({"3d_fullres": folders.make_old_configuration(network)})
    folders.write_trained(tmp_path, "3d_fullres", network, old)
    with warnings.catch_warnings(action="ignore"):
        arguments = PlansManager(old).get_configuration("3d_fullres").network_arch_init_kwargs
    folders.write_trained(
        tmp_path / "new",
        "3d_fullres",
        network,
        folders.make_plans({"3d_fullres": folders.make_configuration(network) | _as_present(name, arguments)}),
    )
    plans = [read_source_plan(folder, "3d_fullres").plan for folder in (tmp_path, tmp_path / "new")]
    assert plans[0] == plans[1]


def _as_present(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"architecture": {"network_class_name": folders.CLASS_NAMES[name], "arch_kwargs": arguments}}


@pytest.fixture(scope="module", params=MODELS)
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that nnU-Net trained, and what the import made of it."""
    folder = Path(DATA) / "models" / request.param / "model"
    if not DATA or not folder.is_dir():
        pytest.skip("MEDSEG_TEST_DATA with models/ is not set")
    output = tmp_path_factory.mktemp("models") / request.param
    (found,) = find_models(folder)
    assert import_model(found, output).error is None
    return folder, output


def test_given_models_answer_as_in_nnunet(given: tuple[Path, Path]) -> None:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder, output = given
    model = open_model(output)
    (member,) = model.record.members
    (own,) = load_networks(model, member, member.folds, torch.device("cpu"))
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    configuration = PlansManager(str(folder / "plans.json")).get_configuration(member.configuration)
    peer = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(model.plan.channels),
        model.plan.labels.channel_count,
        deep_supervision=False,
    )
    peer.load_state_dict(checkpoint["network_weights"])
    patch = model.plan.configurations[member.configuration].patch_size
    assert patch == tuple(configuration.patch_size)
    assert model.record.mirror_axes == checkpoint["inference_allowed_mirroring_axes"]
    x = torch.randn(1, len(model.plan.channels), *patch, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(own(x)[0], peer.eval()(x))
