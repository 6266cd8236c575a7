"""The only place that turns label values into network channels and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.core.records import Record

IGNORED = 255  # stands for "not labelled" in the class-index map that training reads


class LabelScheme(Record):
    """What the values of a label map mean and how a network's channels stand for them.

    A name with one value is a class; a name with several values is a region, their union. Where there is a
    region, or one class only, each name has a channel of its own with a sigmoid; otherwise the classes and the
    background share a softmax.

    Args:
        labels: name to value, or to values for a region; without the background, which is 0.
        ignore: the value of voxels that nobody labelled; they count neither in the loss nor in a score.
        paint_order: for regions, the value that each name paints, in the order of painting (later wins).
        output: ``softmax`` or ``sigmoid``; worked out from the labels where it is not given.
        tolerance_mm: by name, how far that structure's surface may lie off and still count as right, where the data
            set says so.
    """

    labels: dict[str, tuple[int, ...]]
    ignore: int | None = None
    paint_order: tuple[int, ...] = ()
    output: Literal["softmax", "sigmoid"] = "softmax"
    tolerance_mm: dict[str, float] = pydantic.Field(default_factory=dict)

    @classmethod
    def make(
        cls,
        labels: Mapping[str, int | Sequence[int]],
        *,
        paint_order: Sequence[int] | None = None,
        output: Literal["softmax", "sigmoid"] | None = None,
        tolerance_mm: float | Mapping[str, float] | None = None,
    ) -> Self:
        """The scheme for nnU-Net's ``labels`` entry: names to values, with ``background`` and ``ignore`` among them.

        Args:
            labels: name to value, or to a list of values for a region.
            paint_order: nnU-Net's ``regions_class_order``; the regions' first values where it is not given.
            output: how channels stand for labels, where another network than ours decided it.
            tolerance_mm: how far surfaces may lie off, one number or by name.
        Returns:
            the scheme; a ``background`` of 0 is left out, ``ignore`` becomes the ignore label.
        Raises:
            DatasetError: a value is negative, not whole, stands for two classes or for a class and the ignore
                label, or there is no label at all; a tolerance is negative or of an unknown label.
        """
        named = {str(name): _as_values(str(name), value) for name, value in labels.items()}
        ignore = next((named.pop(name)[0] for name in list(named) if name.lower() == "ignore"), None)
        named = {name: values for name, values in named.items() if values != (0,)}
        _refuse_impossible(named, ignore)
        regions = any(len(values) > 1 for values in named.values())
        order = tuple(paint_order or [values[0] for values in named.values()]) if regions else ()
        if regions and len(order) != len(named):
            raise DatasetError(
                f"regions_class_order has {len(order)} entries for {len(named)} regions", code="bad_labels"
            )
        decided = output or ("sigmoid" if regions or len(named) == 1 else "softmax")
        tolerances = _as_tolerances(tolerance_mm, named)
        return cls(labels=named, ignore=ignore, paint_order=order, output=decided, tolerance_mm=tolerances)

    @pydantic.field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        if not labels or any(not values or min(values) < 0 for values in labels.values()):
            raise ValueError("each label needs values from 0 up")
        return labels

    @pydantic.model_serializer(mode="wrap")
    def _leave_out_unsaid(self, serialise: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Few data sets state tolerances; the files of all others stay as they were before there were any.
        content: dict[str, Any] = serialise(self)
        if not self.tolerance_mm:
            content.pop("tolerance_mm", None)
        return content

    @property
    def names(self) -> tuple[str, ...]:
        """The names of classes and regions, in the order of the channels, without the background."""
        return tuple(self.labels)

    @property
    def has_regions(self) -> bool:
        """Whether some name is a union of several values."""
        return any(len(values) > 1 for values in self.labels.values())

    @property
    def values(self) -> tuple[int, ...]:
        """Every value a label map of this scheme may hold, the background and the ignore label included."""
        known = {0, *(value for values in self.labels.values() for value in values)}
        return tuple(sorted(known | ({self.ignore} if self.ignore is not None else set())))

    @property
    def foreground(self) -> tuple[int, ...]:
        """The values of ``values`` that stand for anatomy: without the background and the ignore label."""
        return tuple(value for value in self.values if value not in (0, self.ignore))

    @property
    def channel_count(self) -> int:
        """Number of network channels: one a name, and one for the background with a softmax."""
        return len(self.labels) + (self.output == "softmax")

    def mask(self, array: NDArray[Any], name: str) -> NDArray[np.bool_]:
        """Where a label map, (i, j, k), holds the class or region ``name``."""
        values = self.labels[name]
        found = np.asarray(array == values[0])
        for value in values[1:]:  # far faster than np.isin, which sorts
            found |= array == value
        return found

    def channel_table(self) -> NDArray[np.uint8]:
        """Which value belongs to which channel: (channel, value), 1 or 0, for values up to the largest one."""
        table = np.zeros((self.channel_count, max(self.values) + 1), np.uint8)
        offset = int(self.output == "softmax")
        for channel, values in enumerate(self.labels.values(), start=offset):
            table[channel, list(values)] = 1
        if offset:
            table[0] = table[1:].sum(axis=0) == 0
        if self.ignore is not None:
            table[:, self.ignore] = 0
        return table

    def class_table(self) -> NDArray[np.uint8]:
        """Softmax only: the class index of each value, IGNORED for the ignore label."""
        table: NDArray[np.uint8] = self.channel_table().argmax(axis=0).astype(np.uint8)
        if self.ignore is not None:
            table[self.ignore] = IGNORED
        return table

    def channel_values(self) -> tuple[int, ...]:
        """The value that each channel writes: for a softmax by class, for a sigmoid in the order of painting."""
        if self.output == "softmax":
            return (0, *(values[0] for values in self.labels.values()))
        return self.paint_order or tuple(values[0] for values in self.labels.values())

    def side_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of names that differ in their side alone: (``left kidney``, ``right kidney``)."""
        by_name = {name.lower(): name for name in self.names}
        pairs = []
        for low, name in by_name.items():
            for left, right in (("left", "right"), ("l", "r")):
                other = re.sub(rf"(?<![a-z]){left}(?![a-z])", right, low)
                if other != low and other in by_name:
                    pairs.append((name, by_name[other]))
                    break
        return tuple(pairs)

    def value_type(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest unsigned integer type that holds every value."""
        return np.uint8 if max(self.values) <= np.iinfo(np.uint8).max else np.uint16


def _as_values(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    try:
        whole = tuple(int(v) for v in values)
    except (TypeError, ValueError):
        raise DatasetError(f"label {name!r} has the value {value!r}, not a whole number", code="bad_labels") from None
    if not whole or any(v != float(raw) or v < 0 or v > 65535 for v, raw in zip(whole, values, strict=True)):
        raise DatasetError(
            f"label {name!r} has the value {value!r}, not a whole number from 0 to 65535", code="bad_labels"
        )
    return whole


def _as_tolerances(given: float | Mapping[str, float] | None, named: Mapping[str, Any]) -> dict[str, float]:
    if given is None:
        return {}
    entries: Mapping[str, Any] = given if isinstance(given, Mapping) else dict.fromkeys(named, given)
    for name, value in entries.items():
        if name not in named:
            raise DatasetError(
                f"tolerance_mm names {name!r}, the labels are {', '.join(named)}", code="bad_tolerance",
                remedy="Write the label's name as it stands among the labels",
            )  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise DatasetError(
                f"the tolerance of {name!r} is {value!r}, not a number of millimetres from 0 up", code="bad_tolerance"
            )
    return {name: float(value) for name, value in entries.items()}


def _refuse_impossible(named: dict[str, tuple[int, ...]], ignore: int | None) -> None:
    if not named:
        raise DatasetError(
            "there is no label besides the background", code="no_labels", remedy="Give --labels name=value"
        )
    owner: dict[int, str] = {}
    for name, values in named.items():
        if ignore in values:
            raise DatasetError(f"{name!r} and the ignore label both have the value {ignore}", code="bad_labels")
        if len(values) == 1 and owner.setdefault(values[0], name) != name:
            raise DatasetError(f"{owner[values[0]]!r} and {name!r} both have the value {values[0]}", code="bad_labels")
