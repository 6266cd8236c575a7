"""What of one network's weights fits another one: by name and shape, input channels and labels by what they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medseg.core.labels import LabelScheme

# The stages of our U-Nets' decoders, counted from the coarsest.
DECODER_STAGE = re.compile(r"^(up|decoder|heads)\.(\d+)(?=\.)")
MASK = "mask of "  # what the names of a cascade's further input channels begin with

# For each channel of ours, how much of which of theirs it is made of; {} for 0.
Mixture = Sequence[Mapping[int, float]]
Build = Callable[[int, int], nn.Module]  # from input and output channels to a network


@dataclass(frozen=True)
class Edges:
    """Which tensors depend on a network's channels, and how theirs become ours.

    Args:
        input_axes, output_axes: tensor to the axis along which it grows with the input or output channels.
        inputs, outputs: the mixture of each of our channels; no ``outputs`` where the model knows none of the labels.
        their_inputs, their_outputs: how many channels theirs has.
    """

    input_axes: Mapping[str, int]
    output_axes: Mapping[str, int]
    inputs: Mixture
    outputs: Mixture | None
    their_inputs: int
    their_outputs: int


@dataclass(frozen=True)
class Fit:
    """What a model gives to a network.

    Args:
        tensors: the network's tensors that come from the model.
        taken: names of those that fit as they are.
        adapted: names of those put together from the model's channels or labels.
        missing: the network's other tensors, each with the reason.
        unused: the model's tensors that nothing was made of.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def find_edges(build: Build, inputs: int, outputs: int) -> tuple[dict[str, int], dict[str, int]]:
    """The tensors that grow with a network's channels, found by building it with one channel more.

    Args:
        build: builds the network for numbers of input and output channels.
        inputs, outputs: how many there are.
    Returns:
        tensor to axis, of those that grow with the inputs and of those that grow with the outputs.
    """
    own = _shapes(build(inputs, outputs))
    wider, taller = _shapes(build(inputs + 1, outputs)), _shapes(build(inputs, outputs + 1))
    return _growing(own, wider), _growing(own, taller)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _growing(own: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    found = {}
    for name, shape in own.items():
        steps = [b - a for a, b in zip(shape, other.get(name, shape), strict=False)]
        if sorted(steps)[-1:] == [1] and sum(map(abs, steps)) == 1:
            found[name] = steps.index(1)
    return found


def match_inputs(
    theirs: Sequence[str], ours: Sequence[str], images: int
) -> tuple[list[dict[int, float]], dict[str, str]]:
    """What each input channel's weights are made of.

    Args:
        theirs: what the model's input channels are.
        ours: what the network's are.
        images: how many of ours are image channels; the others are masks of a cascade's first stage.
    Returns:
        the mixture of each channel, and where it comes from in words. A channel takes the weights of its namesake
        (upper and lower case are one); where both have as many image channels, those left over pair up in order. A
        channel beyond that begins at 0, so that the network begins as the model was; where not one has a namesake, with
        the sum of the model's image channels, shared out among them.
    """
    their_images = [place for place, name in enumerate(theirs) if not name.startswith(MASK)]
    places, own = _index_names(theirs), _index_names(ours)
    pairs = {own[name]: places[name] for name in own if name in places}
    if len(their_images) == images:
        left = [index for index in range(images) if index not in pairs]
        pairs |= dict(zip(left, (place for place in their_images if place not in pairs.values()), strict=True))
    mixture: list[dict[int, float]] = []
    words = {}
    for index, name in enumerate(ours):
        if index in pairs:
            mixture.append({pairs[index]: 1.0})
            words[name] = theirs[pairs[index]]
        elif index < images and not pairs:
            mixture.append(dict.fromkeys(their_images, 1.0 / images))
            words[name] = f"a share of {', '.join(theirs[place] for place in their_images)}"
        else:
            mixture.append({})
            words[name] = "0 at first"
    return mixture, words


def _index_names(names: Sequence[str]) -> dict[str, int]:
    """The place of each name that stands there once, in lower case."""
    low = [name.casefold() for name in names]
    return {name: low.index(name) for name, count in Counter(low).items() if count == 1}


def match_labels(theirs: LabelScheme, ours: LabelScheme) -> tuple[list[dict[int, float]] | None, dict[str, str]]:
    """What each output channel's weights are made of.

    Args:
        theirs: the model's labels.
        ours: the network's.
    Returns:
        the mixture of each channel, and where it comes from in words. A label that the model does not know begins with
        a logit of 0: weights drawn at random answer a trained network's strong features as loudly as the trained ones
        do. Where the model knows none of them, not even the background, there is no mixture, and all are drawn anew.
        From a softmax to a sigmoid a label's logit is counted from the background's, and from a sigmoid to a softmax
        the background's is 0; with one label both give the model's very probabilities.
    """
    first = int(theirs.output == "softmax")
    places = {name.casefold(): place for place, name in enumerate(theirs.names, start=first)}
    both_have_background = first and ours.output == "softmax"
    if not both_have_background and not any(name.casefold() in places for name in ours.names):
        return None, dict.fromkeys(ours.names, "new")
    subtract = first and ours.output == "sigmoid"
    mixture: list[dict[int, float]] = []
    words = {}
    for name in ours.names:
        place = places.get(name.casefold())
        if place is None:
            mixture.append({})
            words[name] = "new, 0 at first"
        else:
            mixture.append({place: 1.0, 0: -1.0} if subtract else {place: 1.0})
            words[name] = f"{theirs.names[place - first]}{' less background' if subtract else ''}"
    if ours.output == "softmax":
        mixture.insert(0, {0: 1.0} if first else {})
        words = {"background": "background" if first else "0 at first", **words}
    return mixture, words


def fit_weights(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], edges: Edges) -> Fit:
    """What of a model's weights a network can take.

    Args:
        ours: the network's freshly drawn state.
        theirs: the model's.
        edges: how their channels become ours.
    Returns:
        the tensors that come from the model, and what becomes of every other one.
    """
    aligned = _align_stages(theirs, ours)
    fit = Fit()
    for name, fresh in ours.items():
        source = theirs.get(aligned.get(name, ""))
        found = "the model has none" if source is None else _fit_tensor(name, fresh, source, edges)
        if source is None or isinstance(found, str):
            fit.missing[name] = str(found)
            continue
        fit.tensors[name] = found.to(fresh)
        same = found.shape == source.shape and torch.equal(found, source)
        (fit.taken if same else fit.adapted).append(name)
    fit.unused.extend(sorted(theirs.keys() - {aligned[name] for name in fit.tensors}))
    return fit


def _fit_tensor(name: str, fresh: Tensor, source: Tensor, edges: Edges) -> Tensor | str:
    """Our tensor made of theirs, or why there is none."""
    first = (edges.input_axes, edges.inputs, edges.their_inputs)
    last = (edges.output_axes, edges.outputs, edges.their_outputs)
    for axes, mixture, count in (first, last):
        axis = axes.get(name)
        if axis is None:
            continue
        if mixture is None:
            return "the model knows none of its labels"
        if source.ndim == fresh.ndim and (fresh.shape[axis], source.shape[axis]) == (len(mixture), count):
            source = _mix(source, axis, mixture)
    if source.shape != fresh.shape:
        return f"{_format(fresh)}, the model's is {_format(source)}"
    return source


def _mix(source: Tensor, axis: int, mixture: Mixture) -> Tensor:
    """Slices along an axis put together from slices along it."""
    empty = torch.zeros_like(source.narrow(axis, 0, 1))
    parts = []
    for terms in mixture:
        part = empty
        for index, weight in terms.items():
            part = part + weight * source.narrow(axis, index, 1)
        parts.append(part)
    return torch.cat(parts, axis)


def _align_stages(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, str]:
    """Our tensors' names to theirs; a U-Net's decoder, which counts from the coarsest stage, by its finest ones."""
    counts = [_count_stages(names) for names in (theirs, ours)]
    aligned = {}
    for name in ours:
        found = DECODER_STAGE.match(name)
        wanted = name
        if found:
            part, stage = found[1], int(found[2])
            wanted = f"{part}.{stage + counts[0].get(part, 0) - counts[1][part]}{name[found.end() :]}"
        if wanted in theirs:
            aligned[name] = wanted
    return aligned


def _count_stages(names: Mapping[str, Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for found in filter(None, map(DECODER_STAGE.match, names)):
        counts[found[1]] = max(counts.get(found[1], 0), int(found[2]) + 1)
    return counts


def _format(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
