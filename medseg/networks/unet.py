"""U-Nets with a plain or a residual encoder, one class for both: the plan says which blocks and how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from medseg.core.plan import NetworkPlan
from medseg.networks.blocks import (
    CONVOLUTIONS,
    TRANSPOSED,
    ConvBlock,
    ResidualBlock,
    Style,
    initialise,
    last_residual_to_zero,
)

MakeBlock = Callable[[int, int, Sequence[int], Sequence[int], Style], nn.Module]


class UNet(nn.Module):
    """Encoder, decoder and a 1x1 head per decoder stage.

    Args:
        plan: features, strides, kernels and convolutions per stage.
        inputs: image channels.
        outputs: channels of the logits.
        block: what an encoder stage is made of.
    Source: Ronneberger et al. (2015); Isensee et al., "nnU-Net" (2021). Stage by stage as nnU-Net's networks, so
        that weights fit; the module names are ours.
    """

    def __init__(self, plan: NetworkPlan, inputs: int, outputs: int, block: MakeBlock) -> None:
        super().__init__()
        dimensions = len(plan.kernels[0])
        ones = (1,) * dimensions
        style = Style(plan.bias, plan.norm, plan.norm_epsilon, plan.slope)
        self.stem: nn.Module = nn.Identity()
        before = inputs
        if block is ResidualBlock:
            self.stem = ConvBlock(inputs, plan.features[0], plan.kernels[0], ones, style)
            before = plan.features[0]
        self.encoder = nn.ModuleList()
        for features, stride, kernel, count in zip(
            plan.features, plan.strides, plan.kernels, plan.convolutions, strict=True
        ):
            blocks = [block(before, features, kernel, stride, style)]
            blocks += [block(features, features, kernel, ones, style) for _ in range(count - 1)]
            self.encoder.append(nn.Sequential(*blocks))
            before = features
        self.up, self.decoder, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage in range(len(plan.features) - 2, -1, -1):
            fine, coarse, step = plan.features[stage], plan.features[stage + 1], plan.strides[stage + 1]
            kernel, count = plan.kernels[stage], plan.decoder_convolutions[stage]
            self.up.append(TRANSPOSED[dimensions](coarse, fine, tuple(step), tuple(step), bias=plan.bias))
            convs = [ConvBlock(2 * fine, fine, kernel, ones, style)]
            convs += [ConvBlock(fine, fine, kernel, ones, style) for _ in range(count - 1)]
            self.decoder.append(nn.Sequential(*convs))
            self.heads.append(CONVOLUTIONS[dimensions](fine, outputs, ones))
        self.apply(initialise)
        self.apply(last_residual_to_zero)
        # Set by checkpoint_gradients: while training, a stage keeps its result alone and is computed again going back.
        self.use_checkpoint = False

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of every decoder stage.

        Args:
            x: (batch, channel, ...), each axis divisible by its strides' product.
        Returns:
            logits (batch, output, ...) from the finest stage to the coarsest; in evaluation mode the finest alone.
        """
        skips = []
        x = self.stem(x)
        twice = self.use_checkpoint and self.training and torch.is_grad_enabled()
        for stage in self.encoder:
            x = _run_again(stage, x) if twice else stage(x)
            skips.append(x)
        skips.pop()
        logits = []
        last = len(self.heads) - 1
        for index, (up, convs, head) in enumerate(zip(self.up, self.decoder, self.heads, strict=True)):
            if twice:
                x = _run_again(partial(_join, up, convs), x, skips.pop())
            else:  # written out, so that nothing holds the skip once it is joined
                x = convs(torch.cat([up(x), skips.pop()], dim=1))
            if self.training or index == last:
                logits.append(head(x))
        return logits[::-1]


def _run_again(stage: Callable[..., Tensor], *features: Tensor) -> Tensor:
    """A stage's result; on the way back the stage is run again. Nothing in it is drawn at random."""
    result: Tensor = checkpoint(stage, *features, use_reentrant=False, preserve_rng_state=False)
    return result


def _join(up: nn.Module, convs: nn.Module, coarse: Tensor, skip: Tensor) -> Tensor:
    features: Tensor = convs(torch.cat([up(coarse), skip], dim=1))
    return features


def build_plain_unet(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """A U-Net of plain convolutions."""
    return UNet(plan, inputs, outputs, ConvBlock)


def build_residual_unet(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    """A U-Net whose encoder is made of residual blocks."""
    return UNet(plan, inputs, outputs, ResidualBlock)
