"""The channels and labels in nnU-Net's ``dataset.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.core.errors import DatasetError, FormatError, ModelError
from medseg.core.labels import LabelScheme

MOST_CHANNELS = 1000
LARGEST_LABEL, LARGEST_BYTE = 65535, 255


def read_channels(dataset: Mapping[str, Any], file: str | Path) -> tuple[str, ...]:
    """The channels' names in order.

    Args:
        dataset: the content of ``dataset.json``: ``channel_names``, or ``modality`` as it was called before.
        file: where it was read, for messages.
    Returns:
        a name per channel.
    Raises:
        FormatError: there are none, or they are not numbered 0, 1, 2, ...
    """
    entry = dataset.get("modality", dataset.get("channel_names"))
    if isinstance(entry, list):
        entry = dict(enumerate(entry))
    named = {str(key): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    expected = [str(index) for index in range(len(named))]
    if not named or len(named) > MOST_CHANNELS or any(key not in named for key in expected):
        raise FormatError("channel_names are no names under 0, 1, 2, ...", code="bad_record", file=file)
    return tuple(str(named[key]) for key in expected)


def read_labels(dataset: Mapping[str, Any], file: str | Path) -> LabelScheme:
    """The label scheme as nnU-Net's networks express it.

    Args:
        dataset: the content of ``dataset.json``.
        file: where it was read, for messages.
    Returns:
        a softmax over the classes by value, or a sigmoid per region in the file's order, painted in
        ``regions_class_order``. One class alone is a softmax too, unlike in our own models.
    Raises:
        ModelError: the labels make no scheme, or one that nnU-Net does not train.
    Source: nnU-Net 2.8.1, ``LabelManager``.
    """
    entry, order = dataset.get("labels"), dataset.get("regions_class_order")
    if not isinstance(entry, dict) or "background" not in entry:
        raise ModelError("labels are no names with values, background among them", code="bad_labels", file=file)
    # A list of one value is a class; nnU-Net counts a value that is listed twice as a region.
    regions = any(isinstance(value, list) and len(value) > 1 for value in entry.values())
    try:
        scheme = LabelScheme.make(
            {name: _read_values(name, value, file) for name, value in entry.items()},
            output="sigmoid" if regions else "softmax",
        )
    except DatasetError as error:
        raise ModelError(error.reason, code="bad_labels", file=file) from None
    if regions:
        return scheme.model_copy(update={"paint_order": _read_order(order, scheme, file)})
    if scheme.values != tuple(range(len(scheme.values))) or scheme.ignore not in (None, scheme.values[-1]):
        reason = f"the label values are {list(scheme.values)[:20]}, expected 0, 1, 2, ... and the ignore label last"
        raise ModelError(reason, code="bad_labels", file=file)
    by_value = dict(sorted(scheme.labels.items(), key=lambda item: item[1]))
    return scheme.model_copy(update={"labels": by_value})


def _read_order(order: Any, scheme: LabelScheme, file: str | Path) -> tuple[int, ...]:
    count, largest = len(scheme.labels), max(LARGEST_BYTE, *scheme.values)  # what a mask of the scheme's type holds
    whole = isinstance(order, list) and all(type(value) is int and 0 <= value <= largest for value in order)
    if not whole or len(order) != count:
        reason = f"regions_class_order is {str(order)[:80]}, expected a label value for each of {count} regions"
        raise ModelError(reason, code="bad_labels", file=file)
    return tuple(order)


def _read_values(name: str, value: Any, file: str | Path) -> int | list[int]:
    """A class's value, or a region's values, each once."""
    values = value if isinstance(value, list) else [value]
    if not values or any(type(number) is not int or not 0 <= number <= LARGEST_LABEL for number in values):
        reason = f"the label {name[:80]!r} has the value {str(value)[:80]}, expected numbers from 0 to {LARGEST_LABEL}"
        raise ModelError(reason, code="bad_labels", file=file)
    return list(dict.fromkeys(values)) if isinstance(value, list) else value
