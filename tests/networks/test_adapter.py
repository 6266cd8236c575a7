"""Padding and cropping around networks of other projects."""

import pytest
import torch
from torch import nn

from medseg.networks import Adapter, build_network
from medseg.networks.adapter import crop_stages, pad_size
from tests.networks.examples import SHAPES
from tests.training.examples import make_configuration


class Stages(nn.Module):
    """Each stage gives every second voxel of the one before."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        assert all(length % 4 == 0 for length in x.shape[2:])
        return [x, x[:, :, ::2, ::2], x[:, :, ::4, ::4]]


@pytest.mark.parametrize(("size", "stages"), [((8, 12), 3), ((6, 8), 2), ((5, 8), 1), ((1, 1), 1)])
def test_stages_keep_their_places(size: tuple[int, int], stages: int) -> None:
    x = torch.randn(2, 1, *size)
    logits = Adapter(Stages(), (4, 4)).train()(x)
    assert len(logits) == stages
    for depth, stage in enumerate(logits):
        assert torch.equal(stage, x[:, :, :: 2**depth, :: 2**depth])
    assert len(Adapter(Stages(), (4, 4)).eval()(x)) == 1


def test_more_than_one_voxel_is_left_at_the_coarsest_stage() -> None:
    assert pad_size((3, 8, 2), (8, 8, 8)) == (8, 8, 16)
    assert pad_size((9, 8, 2), (8, 8, 8)) == (16, 8, 8)
    assert pad_size((16, 16), (8, 8)) == (16, 16)


def test_nothing_is_cropped_where_nothing_was_padded() -> None:
    logits = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 8)]
    assert [stage.shape for stage in crop_stages(logits, (8, 8))] == [stage.shape for stage in logits]


def test_a_segresnet_halves_thick_slices_later() -> None:
    plan, size = SHAPES["3d"]  # its first axis is halved once, the others twice
    network = build_network(make_configuration(network=plan.model_copy(update={"name": "segresnet"})), 2, 3)
    shapes = [tuple(stage.shape[2:]) for stage in network.train()(torch.randn(1, 2, *size))]
    assert shapes == [(4, 8, 8), (4, 4, 4)]


def test_a_dynunet_computes_what_monai_s_does() -> None:
    from monai.networks.nets.dynunet import DynUNet

    plan, size = SHAPES["3d"]
    ours = build_network(make_configuration(network=plan.model_copy(update={"name": "dynunet"})), 2, 3).eval()
    theirs = DynUNet(3, 2, 3, plan.kernels, plan.strides, plan.strides[1:], plan.features).eval()
    renamed = {"network.bottleneck.": "bottleneck.", "network.ups.": "upsamples.", "network.heads.1.": "output_block."}
    renamed |= {"network.downs.0.": "input_block.", "network.downs.1.": "downsamples.0."}
    state = {
        new + key.removeprefix(old): tensor
        for key, tensor in ours.state_dict().items()
        for old, new in renamed.items()
        if key.startswith(old)
    }
    theirs.load_state_dict(state, strict=False)
    x = torch.randn(1, 2, *size)
    assert torch.equal(ours(x)[0], theirs(x))


def test_a_network_of_the_user_s_that_gives_a_tensor_gives_a_list() -> None:
    def build(plan: object, inputs: int, outputs: int) -> nn.Module:
        return nn.Conv3d(inputs, outputs, 1)

    network = build_network(make_configuration(), 2, 3, network=build)
    x = torch.randn(2, 2, 4, 4, 4)
    assert [tuple(stage.shape) for stage in network(x)] == [(2, 3, 4, 4, 4)]
    assert list(network.state_dict()) == ["weight", "bias"]
