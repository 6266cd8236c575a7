"""U-Nets: how many weights, which stages, and what a voxel's logits depend on."""

import math

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.core.plan import NetworkPlan
from medseg.networks import build_network
from tests.networks.examples import SHAPES
from tests.training.examples import make_configuration

PLAN, SIZE = SHAPES["3d"]


def build(name: str, plan: NetworkPlan = PLAN, **options: object) -> torch.nn.Module:
    network = plan.model_copy(update={"name": name})
    return build_network(make_configuration(network=network), 2, 3, **options)  # type: ignore[arg-type]


def count_block(inputs: int, outputs: int, kernel: tuple[int, ...], *, bias: bool = True) -> int:
    return inputs * outputs * math.prod(kernel) + (3 if bias else 2) * outputs  # weights, bias, norm's scale and shift


def test_plain_unet_has_as_many_weights_as_its_layers_say() -> None:
    encoder = (
        count_block(2, 4, (1, 3, 3))
        + count_block(4, 8, (3, 3, 3))
        + count_block(8, 8, (3, 3, 3))
        + count_block(8, 12, (3, 3, 3))
        + count_block(12, 12, (3, 3, 3))
    )
    up = (12 * 8 * 8 + 8) + (8 * 4 * 4 + 4)
    decoder = count_block(16, 8, (3, 3, 3)) + count_block(8, 8, (3, 3, 3)) + count_block(8, 4, (1, 3, 3))
    heads = (8 * 3 + 3) + (4 * 3 + 3)
    network = build("plain_unet")
    assert sum(weight.numel() for weight in network.parameters()) == encoder + up + decoder + heads


def test_residual_unet_starts_as_its_shortcuts() -> None:
    network = build("residual_unet")
    block = network.encoder[1][1]  # type: ignore[index,union-attr]
    x = torch.rand(1, 8, 4, 4, 4)
    assert torch.equal(block(x.clone()), x)  # a shortcut of equal channels changes nothing, x is above 0


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
def test_every_decoder_stage_gives_logits_while_training(name: str) -> None:
    network, x = build(name), torch.randn(2, 2, *SIZE)
    shapes = [tuple(stage.shape) for stage in network.train()(x)]
    assert shapes == [(2, 3, 4, 8, 8), (2, 3, 4, 4, 4)]
    finest = network(x)[0]
    alone = network.eval()(x)
    assert len(alone) == 1
    assert torch.equal(alone[0], finest)


def test_samples_of_a_batch_do_not_mix() -> None:
    network, x = build("plain_unet").eval(), torch.randn(3, 2, *SIZE)
    together = network(x)[0]
    for index in range(3):
        assert torch.allclose(network(x[index : index + 1])[0][0], together[index], atol=1e-5)


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build("plain_unet", seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_a_function_stands_in_for_a_name() -> None:
    def build_own(plan: NetworkPlan, inputs: int, outputs: int) -> torch.nn.Module:
        return torch.nn.Conv3d(inputs, outputs, 1)

    assert isinstance(build("plain_unet", network=build_own), torch.nn.Conv3d)


def test_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"unknown network 'unknown'.*plain_unet, residual_unet"):
        build("unknown")
