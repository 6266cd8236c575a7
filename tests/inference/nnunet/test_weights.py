"""The names of weights, and the refusal of weights that are another network's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.core.errors import ModelError
from medseg.core.plan import NetworkPlan
from medseg.inference.nnunet import pair_names, translate_weights
from tests.inference.nnunet.folders import build_network, make_network, name_as_nnunet

NETWORKS = [
    pytest.param(make_network(dimensions, name=name, bias=bias, norm=norm), id=f"{name}-{dimensions}d-{bias}-{norm}")
    for dimensions in (2, 3)
    for name in ("plain_unet", "residual_unet")
    for bias in (True, False)
    for norm in ("instance", "batch")
]


def named_weights(plan: NetworkPlan) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    ours = build_network(plan).state_dict()
    return ours, name_as_nnunet(plan, ours)


@pytest.mark.parametrize("plan", NETWORKS)
def test_every_weight_has_a_name_of_its_own(plan: NetworkPlan) -> None:
    pairs = pair_names(plan)
    assert set(pairs) == set(build_network(plan).state_dict())
    assert len(set(pairs.values())) == len(pairs)


@pytest.mark.parametrize("plan", NETWORKS)
def test_weights_come_back_under_our_names(plan: NetworkPlan) -> None:
    ours, theirs = named_weights(plan)
    translated = translate_weights(plan, 1, 3, theirs)
    assert translated.keys() == ours.keys()
    assert all(torch.equal(translated[name], ours[name]) for name in ours)


def test_names_are_nnunets() -> None:
    plain, residual = pair_names(make_network()), pair_names(make_network(name="residual_unet"))
    assert plain["encoder.1.1.conv.weight"] == "encoder.stages.1.0.convs.1.conv.weight"
    assert plain["decoder.0.1.norm.bias"] == "decoder.stages.0.convs.1.norm.bias"
    assert plain["up.1.bias"] == "decoder.transpconvs.1.bias"
    assert plain["heads.0.weight"] == "decoder.seg_layers.0.weight"
    assert residual["stem.norm.weight"] == "encoder.stem.convs.0.norm.weight"
    assert residual["encoder.1.1.second.conv.weight"] == "encoder.stages.1.blocks.1.conv2.conv.weight"
    assert residual["encoder.1.0.project.conv.weight"] == "encoder.stages.1.blocks.0.skip.1.conv.weight"
    assert "encoder.0.0.project.conv.weight" not in residual  # the stem has the stage's features already


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrapped_networks_are_taken_off(prefix: str) -> None:
    plan = make_network()
    ours, theirs = named_weights(plan)
    translated = translate_weights(plan, 1, 3, {prefix + name: tensor for name, tensor in theirs.items()})
    assert all(torch.equal(translated[name], ours[name]) for name in ours)


def test_halved_weights_become_float32() -> None:
    plan = make_network()
    _, theirs = named_weights(plan)
    translated = translate_weights(plan, 1, 3, {name: tensor.half() for name, tensor in theirs.items()})
    assert {tensor.dtype for tensor in translated.values()} == {torch.float32}


def test_other_weights_are_refused_by_name() -> None:
    plan = make_network()
    _, theirs = named_weights(plan)
    head = "decoder.seg_layers.1.weight"
    cases = {
        f"{head} is missing": {name: tensor for name, tensor in theirs.items() if name != head},
        "encoder.extra is left over": theirs | {"encoder.extra": torch.zeros(1)},
        f"{head} is 4x2x1x1x1 in the checkpoint and 3x2x1x1x1 by the plan": theirs | {head: torch.zeros(4, 2, 1, 1, 1)},
        f"{head} holds numbers that are not finite": theirs | {head: torch.full((3, 2, 1, 1, 1), torch.nan)},
        "decoder.encoder.stages.0.0.convs.0.conv.bias should repeat": theirs
        | {"decoder.encoder.stages.0.0.convs.0.conv.bias": torch.zeros(2)},
        "encoder.stages.0.0.convs.0.all_modules.3.weight should repeat": theirs
        | {"encoder.stages.0.0.convs.0.all_modules.3.weight": torch.zeros(2)},
    }
    for reason, weights in cases.items():
        with pytest.raises(ModelError, match=reason.replace("(", r"\(")):
            translate_weights(plan, 1, 3, weights)


def test_channels_and_labels_must_fit() -> None:
    plan = make_network()
    _, theirs = named_weights(plan)
    for inputs, outputs in ((2, 3), (1, 4)):
        with pytest.raises(ModelError, match="by the plan"):
            translate_weights(plan, inputs, outputs, theirs)
