"""The names of nnU-Net's weights and ours: the same numbers in the same order, called otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from medseg.core.errors import ModelError
from medseg.core.plan import NetworkPlan
from medseg.networks import NETWORKS

# What torch.compile and data-parallel training put before every name.
PREFIXES = ("module.", "_orig_mod.")
# A second name of the same tensor: the decoder holds the encoder, and each block lists its layers.
DECODER_ALIAS = "decoder.encoder."
LISTED_ALIAS = ".all_modules."


def pair_names(plan: NetworkPlan) -> dict[str, str]:
    """Which of nnU-Net's weights is which of ours.

    Args:
        plan: the network, plain or residual, in two or three dimensions.
    Returns:
        the name in our network's state to the name in nnU-Net's (``PlainConvUNet``, ``ResidualEncoderUNet``), aliases
        left out.
    """
    pairs = dict(_pair_encoder(plan))
    convolution = ("weight", "bias") if plan.bias else ("weight",)
    # Our decoder, as nnU-Net's, counts from the coarsest stage; the plan counts from the finest.
    for stage, count in enumerate(reversed(plan.decoder_convolutions)):
        for index in range(count):
            pairs |= _pair_block(plan, f"decoder.{stage}.{index}", f"decoder.stages.{stage}.convs.{index}")
        pairs |= {f"up.{stage}.{part}": f"decoder.transpconvs.{stage}.{part}" for part in convolution}
        pairs |= {f"heads.{stage}.{part}": f"decoder.seg_layers.{stage}.{part}" for part in ("weight", "bias")}
    return pairs


def _pair_encoder(plan: NetworkPlan) -> Iterator[tuple[str, str]]:
    if plan.name != "residual_unet":
        for stage, count in enumerate(plan.convolutions):
            for index in range(count):
                theirs = f"encoder.stages.{stage}.0.convs.{index}"
                yield from _pair_block(plan, f"encoder.{stage}.{index}", theirs).items()
        return
    yield from _pair_block(plan, "stem", "encoder.stem.convs.0").items()
    before = plan.features[0]
    for stage, count in enumerate(plan.convolutions):
        for index in range(count):
            ours, theirs = f"encoder.{stage}.{index}", f"encoder.stages.{stage}.blocks.{index}"
            yield from _pair_block(plan, f"{ours}.first", f"{theirs}.conv1").items()
            yield from _pair_block(plan, f"{ours}.second", f"{theirs}.conv2").items()
            if before != plan.features[stage]:
                # A strided shortcut begins with its pooling, which has no weights but counts.
                place = int(index == 0 and any(step != 1 for step in plan.strides[stage]))
                yield from _pair_block(plan, f"{ours}.project", f"{theirs}.skip.{place}", bias=False).items()
            before = plan.features[stage]


def _pair_block(plan: NetworkPlan, ours: str, theirs: str, *, bias: bool = True) -> dict[str, str]:
    parts = ["conv.weight", "norm.weight", "norm.bias"]
    parts += ["conv.bias"] if bias and plan.bias else []
    if plan.norm == "batch":
        parts += ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in parts}


def translate_weights(plan: NetworkPlan, inputs: int, outputs: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An nnU-Net network's state as that of our network.

    Args:
        plan: the network.
        inputs: channels that it reads.
        outputs: channels of the logits.
        weights: nnU-Net's state, name to tensor, with or without aliases; of any float type.
    Returns:
        our state, name to tensor; float32, counters int64.
    Raises:
        ModelError: a weight is missing, left over, of another shape, not finite, or differs from its alias.
    """
    theirs = _drop_aliases(weights)
    pairs, shapes = pair_names(plan), _list_shapes(plan, inputs, outputs)
    _refuse_others(pairs.values(), theirs)
    translated = {}
    for ours, name in pairs.items():
        tensor = theirs[name]
        if tensor.shape != shapes[ours]:
            found, expected = _format_shape(tensor.shape), _format_shape(shapes[ours])
            raise ModelError(f"{name} is {found} in the checkpoint and {expected} by the plan", code="other_network")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds numbers that are not finite", code="not_finite")
        translated[ours] = tensor if tensor.dtype == torch.int64 else tensor.to(torch.float32)
    return translated


def _drop_aliases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by nnU-Net's first name for each; an alias with other numbers is refused, as nobody could choose."""
    plain = {_strip(name): tensor for name, tensor in weights.items()}
    kept = {name: tensor for name, tensor in plain.items() if not _is_alias(name)}
    # ``convs.0.all_modules.1`` is the block's convolution, norm or dropout, which a plan alone cannot tell; its numbers
    # are looked for among the block's own.
    for name, tensor in plain.items():
        if name in kept:
            continue
        twins = [kept[other] for other in _list_twins(name) if other in kept]
        if not any(tensor is twin or (tensor.shape == twin.shape and torch.equal(tensor, twin)) for twin in twins):
            raise ModelError(f"{name} should repeat another weight and does not", code="other_network")
    return kept


def _strip(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _is_alias(name: str) -> bool:
    return name.startswith(DECODER_ALIAS) or LISTED_ALIAS in name


def _list_twins(alias: str) -> list[str]:
    """The names that an alias may repeat."""
    name = alias.removeprefix("decoder.") if alias.startswith(DECODER_ALIAS) else alias
    if LISTED_ALIAS not in name:
        return [name]
    block, _, place = name.partition(LISTED_ALIAS)
    part = place.rpartition(".")[2]
    return [f"{block}.{layer}.{part}" for layer in ("conv", "norm")]


def _list_shapes(plan: NetworkPlan, inputs: int, outputs: int) -> dict[str, torch.Size]:
    with torch.device("meta"):  # shapes without memory, whatever numbers the plan holds
        network = NETWORKS.get(plan.name)(plan, inputs, outputs)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _refuse_others(expected: Iterable[str], found: Iterable[str]) -> None:
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        parts = [f"{missing[0]} is missing ({len(missing)} weights)"] if missing else []
        parts += [f"{extra[0]} is left over ({len(extra)} weights)"] if extra else []
        raise ModelError(f"the weights are not those of the plan's network: {', '.join(parts)}", code="other_network")


def _format_shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"
