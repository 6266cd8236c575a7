"""PyTorch's engine against the network itself: the same bits in exact mode, nearly the same in bfloat16."""

import logging

import pytest
import torch
from torch import Tensor, nn

from medseg.core.plan import NetworkPlan
from medseg.inference.engines import as_forward, make_forward, torch_engine
from medseg.inference.engines.fused_blocks import LARGE_IMAGE, FusedBlock, LargeUp, fuse_blocks
from medseg.networks import build_network
from medseg.networks.blocks import ConvBlock
from tests.inference.engines.examples import (
    CHANNELS,
    KINDS,
    OUTPUTS,
    PLAN_3D,
    compute_plainly,
    make_network,
    make_windows,
    with_threads,
)
from tests.training.examples import make_configuration

CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "dimensions"), KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_exact_gives_the_network_s_own_bits(name: str, dimensions: int, threads: int) -> None:
    network, configuration = make_network(name, dimensions)
    windows = make_windows(configuration)
    with with_threads(threads):
        expected = compute_plainly(network, windows, dimensions)
        logits = make_forward(network, configuration, CHANNELS, CPU)(windows)
    assert logits.dtype == torch.float32
    assert logits.shape == (3, OUTPUTS, *configuration.patch_size)
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
def test_large_windows_in_threads_have_the_network_s_own_bits(name: str, caplog: pytest.LogCaptureFixture) -> None:
    # Large enough for oneDNN at the finest stage, also in its pointwise layers, and for parts at the next one.
    plan = PLAN_3D.model_copy(update={"name": name, "features": (24, 30, 40)})
    configuration = make_configuration(network=plan, patch_size=(24, 48, 48), channels=CHANNELS)
    network = build_network(configuration, CHANNELS, OUTPUTS).eval()
    windows = make_windows(configuration)
    with with_threads(2), caplog.at_level(logging.INFO, "medseg"):
        expected = compute_plainly(network, windows, 3)
        forward = make_forward(network, configuration, CHANNELS, CPU)
        assert torch.equal(forward(windows), expected)
        assert torch.equal(forward(windows[:1]), expected[:1])
    assert not caplog.messages  # the threads' bits were those of the network


def test_threads_with_other_bits_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, configuration = make_network()
    windows = make_windows(configuration)
    monkeypatch.setattr(torch_engine, "compute_apart", lambda function, window: function(window) + 1)
    monkeypatch.setattr(torch_engine, "compute_each", None)
    with with_threads(2), caplog.at_level(logging.INFO, "medseg"):
        forward = make_forward(network, configuration, CHANNELS, CPU)
        for _ in range(2):
            assert torch.equal(forward(windows), compute_plainly(network, windows, 3))
    assert len(caplog.messages) == 1
    assert "windows go one after another" in caplog.messages[0]


def test_exact_uses_the_compiled_loop_and_leaves_the_network_alone() -> None:
    network, configuration = make_network()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    windows = make_windows(configuration)
    kept = windows.clone()
    fused = fuse_blocks(network)
    assert sum(isinstance(module, FusedBlock) for module in fused.modules()) == 8
    assert not any(isinstance(module, ConvBlock) for module in fused.modules())
    assert not any(isinstance(module, FusedBlock) for module in network.modules())
    for precision in ("exact", "bf16"):
        make_forward(network, configuration, CHANNELS, CPU, precision=precision)(windows)  # type: ignore[arg-type]
    assert torch.equal(windows, kept)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("name", "dimensions"), KINDS)
def test_halves_lie_as_near_as_their_mantissa_allows(name: str, dimensions: int) -> None:
    network, configuration = make_network(name, dimensions)
    windows = make_windows(configuration)
    expected = compute_plainly(network, windows, dimensions)
    logits = make_forward(network, configuration, CHANNELS, CPU, precision="bf16")(windows)
    assert logits.dtype == torch.float32
    assert logits.shape == expected.shape
    error = (logits - expected).abs()
    scale = float(expected.std())
    assert float(error.mean()) < 0.03 * scale
    assert float(error.max()) < 0.3 * scale


@pytest.mark.parametrize("slope", [0.01, 1.0])
@pytest.mark.parametrize(("voxels", "offset"), [((6, 7, 5), 0.0), ((3, 3, 1), 30.0), ((9, 17, 15), -4.0)])
def test_halves_are_normalised_with_exact_statistics(slope: float, voxels: tuple[int, int, int], offset: float) -> None:
    block = ConvBlock(3, 7, (1, 1, 1), (1, 1, 1), activate=slope < 1).eval()
    nn.init.normal_(block.norm.weight)  # type: ignore[arg-type]
    nn.init.normal_(block.norm.bias)  # type: ignore[arg-type]
    x = (torch.randn(2, 3, *voxels) + offset).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        fused = FusedBlock(block, lowered=True)
        fused.conv.bfloat16()
        found = fused(x)
        features = fused.conv(x).double()
        expected = nn.functional.instance_norm(
            features, weight=block.norm.weight.double(), bias=block.norm.bias.double(), eps=1e-5
        )
        expected = nn.functional.leaky_relu(expected, slope)
    assert found.dtype == torch.bfloat16
    # Half a unit in the last of eight bits, and a little for scale and shift in float32.
    assert float(((found.double() - expected).abs() - expected.abs() * 2**-8).max()) < 1e-5


@pytest.mark.parametrize("dimensions", [2, 3])
def test_large_images_are_scaled_up_with_the_same_bits(dimensions: int) -> None:
    conv = nn.ConvTranspose3d(6, 5, (1, 2, 2), (1, 2, 2)) if dimensions == 3 else nn.ConvTranspose2d(6, 5, 2, 2)
    up = LargeUp(conv)
    for x in torch.randn(3, 1, 6, *((14, 60, 64) if dimensions == 3 else (220, 244))):
        with torch.inference_mode():
            expected = conv(x)
            assert expected.numel() >= LARGE_IMAGE
            found = up(x)
        assert torch.equal(found, expected)
        assert found.is_contiguous()
    assert list(up.has_same_bits) == [x.shape]


def test_a_network_of_other_layers_runs_too() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(CHANNELS, OUTPUTS, 3, padding=1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.conv(x)]

    def build(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
        return Own()

    configuration = make_configuration(channels=CHANNELS)
    network = build_network(configuration, CHANNELS, OUTPUTS, network=build).eval()
    windows = make_windows(configuration)
    expected = compute_plainly(network, windows, 3)
    assert torch.equal(make_forward(network, configuration, CHANNELS, CPU)(windows), expected)
    lower = make_forward(network, configuration, CHANNELS, CPU, precision="bf16")(windows)
    assert torch.allclose(lower, expected, atol=0.05)


def test_a_network_of_volumes_may_have_layers_of_slices() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slices, self.volume = nn.Conv2d(CHANNELS, 4, 3, padding=1), nn.Conv3d(4, OUTPUTS, 3, padding=1)

        def forward(self, x: Tensor) -> list[Tensor]:
            (n, c, a, h, w) = x.shape
            features: Tensor = self.slices(x.transpose(1, 2).reshape(n * a, c, h, w))
            return [self.volume(features.reshape(n, a, 4, h, w).transpose(1, 2))]

    configuration = make_configuration(channels=CHANNELS)
    network, windows = Mixed().eval(), make_windows(configuration)
    expected = compute_plainly(network, windows, 3)
    assert torch.allclose(as_forward(network, 3)(windows), expected, atol=1e-5)
    assert torch.allclose(make_forward(network, configuration, CHANNELS, CPU)(windows), expected, atol=1e-5)


class OwnBlock(ConvBlock):
    """A user's block: of our kind, with another forward."""

    def forward(self, x: Tensor) -> Tensor:
        """Features to features."""
        return super().forward(x) + 1


def test_a_user_s_own_block_keeps_its_forward() -> None:
    network, configuration = make_network()
    block = network.encoder[0][0]  # type: ignore[index,operator]
    block.__class__ = OwnBlock
    windows = make_windows(configuration)
    expected = compute_plainly(network, windows, 3)
    for count in (1, 3):
        logits = make_forward(network, configuration, CHANNELS, CPU)(windows[:count])
        assert torch.equal(logits, expected[:count])
    lower = make_forward(network, configuration, CHANNELS, CPU, precision="bf16")(windows)
    assert float((lower - expected).abs().mean()) < 0.03 * float(expected.std())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["exact", "bf16"])
def test_a_recorded_graph_gives_the_network_s_answer(precision: str) -> None:
    network, configuration = make_network()
    device = torch.device("cuda")
    windows = make_windows(configuration).to(device)
    forward = make_forward(network.to(device), configuration, CHANNELS, device, precision=precision)  # type: ignore[arg-type]
    expected = compute_plainly(network, windows, 3)
    atol = 1e-4 if precision == "exact" else 0.3 * float(expected.std())
    with torch.inference_mode():
        for count in (3, 3, 2, 1, 3):  # more shapes than are recorded
            assert torch.allclose(forward(windows[:count]), expected[:count], atol=atol)
