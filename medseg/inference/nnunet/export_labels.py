"""A label scheme in nnU-Net's words, and a network's channels in nnU-Net's order.

nnU-Net knows two kinds of network: a softmax over the background and classes with the values 1, 2, 3, ..., channel c
writing the value c; and a sigmoid per region, painted in ``regions_class_order``. A class becomes a region of its own
where its value is listed twice, since nnU-Net asks for a list of more than one value.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medseg.core.errors import ModelError
from medseg.core.labels import LabelScheme

# nnU-Net 2.8.1 keeps masks of fewer than 255 labels in 8 bits, whatever the labels' values are.
LARGEST_REGION_VALUE = 255


def describe_labels(labels: LabelScheme) -> dict[str, Any]:
    """The labels as nnU-Net's ``dataset.json`` has them.

    Args:
        labels: the model's.
    Returns:
        ``labels`` and, for regions, ``regions_class_order``. The ignore label becomes the value after the largest one,
        as nnU-Net demands; no mask ever holds it.
    Raises:
        ModelError: nnU-Net cannot write these values: classes that are not 1, 2, 3, ..., values above 255 with a
            sigmoid, regions with a softmax, a class called ``background``.
    """
    _refuse_labels(labels)
    named: dict[str, int | list[int]] = {"background": 0}
    regions = uses_regions(labels)
    for name, values in sorted(labels.labels.items(), key=lambda item: 0 if regions else item[1][0]):
        named[name] = _as_region(values, labels) if regions else values[0]
    if labels.ignore is not None:
        named["ignore"] = ignore_value(labels)
    return {"labels": named} | ({"regions_class_order": list(labels.channel_values())} if regions else {})


def uses_regions(labels: LabelScheme) -> bool:
    """Whether nnU-Net gets regions: every sigmoid but that of one class with the value 1."""
    return labels.output == "sigmoid" and not has_two_heads(labels)


def has_two_heads(labels: LabelScheme) -> bool:
    """Whether the network's one sigmoid channel becomes nnU-Net's softmax of background and class."""
    return labels.output == "sigmoid" and tuple(labels.labels.values()) == ((1,),)


def ignore_value(labels: LabelScheme) -> int:
    """The value that nnU-Net demands of an ignore label: the one after the largest."""
    return 1 + max(value for values in labels.labels.values() for value in values)


def arrange_heads(head: Tensor, labels: LabelScheme) -> Tensor:
    """A head's weights or biases with nnU-Net's output channels.

    Args:
        head: (output, ...), as ours.
        labels: what the outputs stand for.
    Returns:
        (output, ...) as nnU-Net's: classes by value; for one sigmoid, a background of zeros before it, so that the
        softmax's larger logit is the class exactly where the sigmoid's was above 0.
    """
    if has_two_heads(labels):
        return torch.cat([torch.zeros_like(head), head])
    if labels.output == "softmax":
        return head[_order_classes(labels)]
    return head


def restore_channels(logits: Tensor, labels: LabelScheme) -> Tensor:
    """Logits of an exported network in the order of ours, the reverse of ``arrange_heads``.

    Args:
        logits: (window, output, a, b, c), as nnU-Net's.
        labels: of our model.
    Returns:
        (window, output, a, b, c), as ours.
    """
    if has_two_heads(labels):
        return logits[:, 1:] - logits[:, :1]
    if labels.output == "softmax":
        return logits[:, torch.tensor(_order_classes(labels)).argsort()]
    return logits


def _order_classes(labels: LabelScheme) -> list[int]:
    """For each value from 0 up the channel of ours that writes it."""
    values = labels.channel_values()
    return sorted(range(len(values)), key=lambda channel: values[channel])


def _as_region(values: tuple[int, ...], labels: LabelScheme) -> int | list[int]:
    if len(values) > 1:
        return list(values)
    # One true region is enough for nnU-Net to take every entry as one.
    return values[0] if labels.has_regions else [values[0], values[0]]


def _refuse_labels(labels: LabelScheme) -> None:
    reserved = [name for name in labels.names if name.lower() == "background"]
    if reserved:
        raise _unfit(f"the label {reserved[0]!r} is called as nnU-Net calls the value 0")
    if labels.output == "softmax":
        if labels.has_regions:
            raise _unfit("regions that share a softmax")
        values = sorted(values[0] for values in labels.labels.values())
        if values != list(range(1, len(values) + 1)):
            listed = ", ".join(f"{name} {entry[0]}" for name, entry in labels.labels.items())
            raise _unfit(f"classes with the values {listed}; nnU-Net writes 1 to {len(values)}")
    elif max(labels.channel_values()) > LARGEST_REGION_VALUE:
        raise _unfit(f"a mask value of {max(labels.channel_values())}; nnU-Net keeps masks of few labels in 8 bits")


def _unfit(reason: str) -> ModelError:
    return ModelError(
        f"nnU-Net cannot express {reason}", code="not_expressible", remedy="Export it with --to onnx, or keep medseg"
    )
