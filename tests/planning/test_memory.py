"""The closed forms for memory and multiplications against networks that are really built."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medseg.core.plan import Configuration
from medseg.networks import build_network, checkpoint_gradients
from medseg.networks.blocks import ResidualBlock
from medseg.planning import make_plan
from medseg.planning.cost import count_products, predict_step_seconds
from medseg.planning.memory import (
    FIXED_GB,
    count_feature_elements,
    count_weights,
    estimate_memory_gb,
    estimate_patch_bytes,
)
from medseg.planning.nnunet_rules import RULES
from tests.planning.fingerprints import make_fingerprint

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def small_configurations() -> list[Configuration]:
    """2D and 3D, isotropic and not, one and three channels, plain and residual."""
    thick = make_fingerprint([(48, 40, 12)] * 6, [(1.0, 1.0, 4.0)] * 6, channels=("CT", "PET", "MR"))
    cubes = make_fingerprint([(32, 40, 36)] * 6, [(1.0, 1.0, 1.0)] * 6, channels=("MR",), labels={"tumour": 1})
    presets = ("nnunet", "cpu", "resenc-m")
    plans = [make_plan(fingerprint, preset=preset) for fingerprint in (thick, cubes) for preset in presets]
    return [configuration for plan in plans for configuration in plan.configurations.values()]


def names(configuration: Configuration) -> str:
    """A short name for the test's line."""
    network = configuration.network
    return f"{configuration.name}-{network.name}-{network.features[0]}-{configuration.patch_size}"


@pytest.fixture(params=small_configurations(), ids=names)
def built(request: pytest.FixtureRequest) -> tuple[Configuration, nn.Module, torch.Tensor, int]:
    """A configuration, its network, one patch, and the number of outputs."""
    configuration: Configuration = request.param
    inputs, outputs = len(configuration.normalisation), 3
    network = build_network(configuration, inputs, outputs).train()
    patch = configuration.patch_size[3 - configuration.dimensions :]
    return configuration, network, torch.zeros((1, inputs, *patch)), outputs


def test_weights_are_counted_exactly(built: tuple[Configuration, nn.Module, torch.Tensor, int]) -> None:
    """Every parameter of the built network, no more, no less."""
    configuration, network, image, outputs = built
    counted = count_weights(configuration.network, image.shape[1], outputs)
    assert counted == sum(parameter.numel() for parameter in network.parameters())


def test_features_and_products_are_counted_exactly(built: tuple[Configuration, nn.Module, torch.Tensor, int]) -> None:
    """The outputs and multiplications of every convolution, as hooks on the running network see them."""
    configuration, network, image, outputs = built
    elements, products, heads = sum(output.numel() for output in averaged_shortcuts(network, image)), 0, []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal elements, products
        taps = math.prod(module.kernel_size)
        if isinstance(module, CONVOLUTIONS) and taps == 1 and module.out_channels == outputs:
            heads.append(output.numel())
            return
        elements += output.numel()
        size = (
            inputs[0].numel() * module.out_channels
            if isinstance(module, TRANSPOSED)
            else output.numel() * module.in_channels
        )
        products += size * taps

    for module in network.modules():
        if isinstance(module, CONVOLUTIONS + TRANSPOSED):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(image)
    patch = image.shape[2:]
    # nnU-Net counts the finest head alone, and an averaging shortcut as if it projected too.
    assert count_feature_elements(configuration.network, patch, outputs) == elements + max(heads)
    if configuration.network.name == "plain_unet":  # the only ones that are planned for a time
        assert count_products(configuration.network, patch, image.shape[1]) == products


def averaged_shortcuts(network: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """What the shortcuts give that average without projecting."""
    found: list[torch.Tensor] = []
    handles = [
        block.pool.register_forward_hook(lambda module, inputs, output: found.append(output))
        for block in network.modules()
        if isinstance(block, ResidualBlock)
        and isinstance(block.project, nn.Identity)
        and not isinstance(block.pool, nn.Identity)
    ]
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()
    return found


def count_kept_bytes(network: nn.Module, image: torch.Tensor) -> int:
    """What autograd keeps for going back, weights aside."""
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(image)
        loss = sum(level.float().softmax(1)[:, 0].log().mean() for level in logits)
    assert isinstance(loss, torch.Tensor)
    return sum(kept.values())


def test_predicted_memory_covers_what_is_kept(built: tuple[Configuration, nn.Module, torch.Tensor, int]) -> None:
    """What autograd keeps for going back is less than predicted for features, loss and image, and not far less."""
    configuration, network, image, outputs = built
    predicted = estimate_patch_bytes(configuration.network, image.shape[2:], image.shape[1], outputs, 4)
    assert 0.5 * predicted < count_kept_bytes(network, image) < predicted


def test_predicted_memory_of_checkpointing(built: tuple[Configuration, nn.Module, torch.Tensor, int]) -> None:
    """Where features are computed twice, less is kept than predicted, which is less than without."""
    configuration, network, image, outputs = built
    size = (configuration.network, image.shape[2:], image.shape[1], outputs, 4)
    predicted = estimate_patch_bytes(*size, twice=True)
    whole = count_kept_bytes(network, image)
    checkpoint_gradients(network)
    kept = count_kept_bytes(network, image)
    assert kept < predicted < estimate_patch_bytes(*size)
    assert kept < 0.75 * whole


def test_memory_grows_with_the_batch_and_shrinks_with_the_type() -> None:
    """Twice the patches: twice the part that patches take; 16 bit: less than 32."""
    configuration = small_configurations()[1]
    network, patch = configuration.network, configuration.patch_size
    weights = 4 * 3 * count_weights(network, 1, 3) / 1e9

    def estimate(batch: int, width: int) -> float:
        return estimate_memory_gb(network, patch, batch, 1, 3, configuration.training, bytes_per_element=width)

    assert estimate(20, 4) - FIXED_GB - weights == pytest.approx(2 * (estimate(10, 4) - FIXED_GB - weights), abs=0.02)
    assert estimate(10, 2) < estimate(10, 4)


def test_a_step_is_predicted_as_measured() -> None:
    """Hippocampus patches, 16 to 128 channels, four of them: 0.46 s measured on two cores, within 20 %."""
    plan = make_plan(make_fingerprint([(35, 50, 36)] * 20, [(1.0, 1.0, 1.0)] * 20, channels=("MR",)), preset="cpu")
    configuration = plan.configuration("3d_fullres")
    assert configuration.patch_size == (40, 56, 40)
    assert configuration.network.features == (16, 32, 64, 128)
    assert configuration.batch_size == 4
    assert predict_step_seconds(configuration.network, (40, 56, 40), 4, 1, 3) == pytest.approx(0.46, rel=0.2)


def test_the_reference_network_fits_its_reference_memory() -> None:
    """nnU-Net's reference values stand for 8 GB, and half of it holds half; in 2D two patches must fit."""
    rules = RULES["nnunet"]
    assert rules.fits(560_000_000, 3, 8.0)
    assert not rules.fits(560_000_001, 3, 8.0)
    assert rules.fits(280_000_000, 3, 4.0)
    assert rules.fits(85_000_000 * 6, 2, 8.0)
    assert not rules.fits(85_000_000 * 6 + 1, 2, 8.0)


def test_the_residual_presets_shrink_slices_until_twelve_fit() -> None:
    """Their reference values stand for 8, 24 and 40 GB."""
    for preset, memory_gb, slices, volume in (
        ("resenc-m", 8.0, 135_000_000, 680_000_000),
        ("resenc-l", 24.0, 380_000_000, 2_100_000_000),
        ("resenc-xl", 40.0, 560_000_000, 3_600_000_000),
    ):
        rules = RULES[preset]
        assert rules.fits(slices, 2, memory_gb)
        assert not rules.fits(slices + 1, 2, memory_gb)
        assert rules.fits(volume, 3, memory_gb)
        assert not rules.fits(volume + 1, 3, memory_gb)
        assert rules.count_patches(volume // 4, 3, memory_gb) == 8


def test_weights_without_biases_are_counted_too() -> None:
    """As imported networks may be."""
    configuration = next(c for c in small_configurations() if c.network.name == "residual_unet")
    bare = configuration.model_copy(update={"network": configuration.network.model_copy(update={"bias": False})})
    network = build_network(bare, 1, 3)
    assert count_weights(bare.network, 1, 3) == sum(parameter.numel() for parameter in network.parameters())
