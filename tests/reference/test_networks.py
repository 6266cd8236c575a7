"""U-Nets against nnU-Net's own networks: the same weights, the same logits."""

import pytest
import torch

architectures = pytest.importorskip(
    "dynamic_network_architectures.architectures.unet", reason="nnunetv2 (bench group) is not installed"
)

from medseg.core.plan import NetworkPlan  # noqa: E402
from medseg.networks.unet import UNet, build_plain_unet, build_residual_unet  # noqa: E402

PLANS = {
    "3d": NetworkPlan(
        features=(4, 6, 8, 8),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 2)),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        convolutions=(1, 2, 3, 2),
        decoder_convolutions=(1, 3, 2),
    ),
    "2d": NetworkPlan(
        features=(4, 8, 8),
        strides=((1, 1), (2, 2), (2, 2)),
        kernels=((3, 3), (3, 3), (3, 3)),
        convolutions=(2, 2, 2),
        decoder_convolutions=(2, 2),
    ),
}
SIZES = {"3d": (8, 8, 16), "2d": (16, 24)}
INPUTS, OUTPUTS = 2, 3


def make_peer(plan: NetworkPlan, *, residual: bool) -> torch.nn.Module:
    """nnU-Net's network as its planner configures it."""
    flat = len(plan.kernels[0]) == 2
    return (architectures.ResidualEncoderUNet if residual else architectures.PlainConvUNet)(
        INPUTS,
        len(plan.features),
        plan.features,
        torch.nn.Conv2d if flat else torch.nn.Conv3d,
        plan.kernels,
        plan.strides,
        list(plan.convolutions),
        OUTPUTS,
        list(plan.decoder_convolutions)[::-1],  # nnU-Net counts from the coarsest stage
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d if flat else torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


def list_weights(*modules: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weight for module in modules for weight in module.parameters()]


def copy_weights(peer: torch.nn.Module, own: UNet) -> None:
    """Copy by position: encoder, decoder, transposed convolutions, heads."""
    stem = [peer.encoder.stem] if hasattr(peer.encoder, "stem") else []
    theirs = list_weights(*stem, peer.encoder.stages, peer.decoder.stages, peer.decoder.transpconvs)
    theirs += list_weights(peer.decoder.seg_layers)
    ours = list_weights(own.stem, own.encoder, own.decoder, own.up, own.heads)
    assert [tuple(weight.shape) for weight in ours] == [tuple(weight.shape) for weight in theirs]
    assert len(ours) == len(list(own.parameters())) == len(list(peer.parameters()))
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            other.normal_(0.0, 0.2)  # as after training: no bias is 0, no scale 1
            mine.copy_(other)


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("shape", list(PLANS))
def test_logits_equal_nnunets(shape: str, residual: bool) -> None:
    torch.manual_seed(0)
    plan = PLANS[shape]
    own = (build_residual_unet if residual else build_plain_unet)(plan, INPUTS, OUTPUTS)
    peer = make_peer(plan, residual=residual)
    assert isinstance(own, UNet)
    copy_weights(peer, own)
    x = torch.randn(2, INPUTS, *SIZES[shape])
    for mine, other in zip(own.train()(x), peer(x), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("shape", list(PLANS))
def test_weights_begin_as_nnunets(shape: str, residual: bool) -> None:
    plan = PLANS[shape]
    torch.manual_seed(0)
    peer = make_peer(plan, residual=residual)
    peer.apply(peer.initialize)
    own = (build_residual_unet if residual else build_plain_unet)(plan, INPUTS, OUTPUTS)
    stem = [peer.encoder.stem] if hasattr(peer.encoder, "stem") else []
    theirs = list_weights(*stem, peer.encoder.stages, peer.decoder.stages, peer.decoder.transpconvs)
    theirs += list_weights(peer.decoder.seg_layers)
    ours = list_weights(own.stem, own.encoder, own.decoder, own.up, own.heads)  # type: ignore[arg-type]
    for mine, other in zip(ours, theirs, strict=True):
        if mine.ndim == 1:  # biases, scales and shifts are constants
            assert torch.equal(mine, other)
        elif mine.numel() > 400:
            assert float(mine.detach().std()) == pytest.approx(float(other.detach().std()), rel=0.15)
