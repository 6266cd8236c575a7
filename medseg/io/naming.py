"""Names of channels and labels: from ``dataset.json`` beside the images, or as the user writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.core.channel_rules import ChannelRule, check_rules
from medseg.core.errors import DatasetError, FormatError
from medseg.core.label_codes import LabelCodes
from medseg.core.labels import LabelScheme
from medseg.core.records import read_json


@dataclass(frozen=True)
class Names:
    """What ``dataset.json`` says.

    Args:
        name: the data set's; empty where it says none.
        channels: in order; ``()`` where it says none.
        labels: the scheme; None where it says none.
        channel_rules: which DICOM series each channel was made from; empty where it says none.
        codes: what labels are in DICOM's vocabulary; empty where it says nothing.
        content: the whole file; empty where there is none.
        file: the file; None where there is none.
    """

    name: str = ""
    channels: tuple[str, ...] = ()
    labels: LabelScheme | None = None
    channel_rules: tuple[ChannelRule, ...] = ()
    codes: Mapping[str, LabelCodes] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None


def read_names(folder: Path) -> Names:
    """The names in a folder's ``dataset.json``, nnU-Net's or the Decathlon's; empty where there is no such file.

    Args:
        folder: where it stands.
    Returns:
        the names.
    Raises:
        FormatError: it is not JSON, or an entry is not of the form that both formats agree on.
        DatasetError: its labels make no scheme.
    """
    file = folder / "dataset.json"
    if not file.is_file():
        return Names()
    content = read_json(file)
    if not isinstance(content, dict):
        raise FormatError("expected an object with labels and channels", code="bad_record", file=file)
    entry = content.get("channel_names", content.get("modality"))
    channels = _read_channels(entry, file) if entry else ()
    labels = _read_scheme(content, file) if content.get("labels") else None
    return Names(
        name=str(content.get("name") or ""),
        channels=channels,
        channel_rules=_read_rules(content, channels, file),
        labels=labels,
        codes=read_codes(content, labels, file),
        content=content,
        file=file,
    )


def _read_channels(entry: Any, file: Path) -> tuple[str, ...]:
    if isinstance(entry, list):
        return tuple(map(str, entry))
    if not isinstance(entry, dict) or sorted(entry) != sorted(str(n) for n in range(len(entry))):
        raise FormatError(
            f"the channels are {entry!r}, expected names under 0, 1, ...", code="bad_record", file=file,
            remedy='Write "channel_names": {"0": "CT"}',
        )  # fmt: skip
    return tuple(str(entry[str(n)]) for n in range(len(entry)))


def _read_rules(content: Mapping[str, Any], channels: tuple[str, ...], file: Path) -> tuple[ChannelRule, ...]:
    entry = content.get("channel_rules", [])
    remedy = "Mend channel_rules, or leave them out: they only tell predict which DICOM series to take"
    if not isinstance(entry, list):
        raise FormatError(f"channel_rules are {entry!r}, expected a list", code="bad_record", file=file, remedy=remedy)
    rules = tuple(ChannelRule.parse(rule, file=file) for rule in entry)
    try:
        check_rules(rules, channels)
    except ValueError as error:
        raise FormatError(str(error), code="bad_record", file=file, remedy=remedy) from None
    return rules


def read_codes(content: Mapping[str, Any], labels: LabelScheme | None, file: str | Path) -> dict[str, LabelCodes]:
    """What a ``dataset.json`` says under ``codes`` of its labels; empty where it says nothing; raises FormatError."""
    if not content.get("codes"):
        return {}
    from medseg.io.dicom.codes import parse_codes  # pydicom's dictionary, which no other data set needs

    return parse_codes(content["codes"], labels=None if labels is None else labels.names, file=file)


def _read_scheme(content: Mapping[str, Any], file: Path) -> LabelScheme:
    entry = content["labels"]
    if not isinstance(entry, dict):
        raise FormatError(
            f"labels are {entry!r}, expected an object", code="bad_labels", file=file,
            remedy='Write "labels": {"background": 0, "tumour": 1}',
        )  # fmt: skip
    if all(str(key).isdigit() and isinstance(value, str) for key, value in entry.items()):
        entry = _swap([(str(name), str(value)) for value, name in entry.items()], file)
    order = content.get("regions_class_order")
    try:
        return LabelScheme.make(entry, paint_order=order, tolerance_mm=content.get("tolerance_mm"))
    except DatasetError as error:
        raise DatasetError(error.reason, code=error.code, file=file, remedy=error.remedy) from None


def _swap(pairs: Iterable[tuple[str, str]], file: Path | None) -> dict[str, int]:
    named: dict[str, int] = {}
    for name, value in pairs:
        if name in named:
            raise DatasetError(f"the values {named[name]} and {value} are both {name!r}", code="bad_labels", file=file)
        named[name] = int(value)
    return named


def parse_labels(text: str) -> LabelScheme:
    """The label scheme that ``--labels`` says.

    Args:
        text: ``liver=1,tumour=2`` or ``255=tumour``; or the path of a ``dataset.json``, a ``run.json`` or a folder with
            one.
    Returns:
        the scheme.
    Raises:
        DatasetError: an entry is not of the form name=value, or values make no scheme.
    """
    if "=" not in text:
        scheme = find_labels(text)
        if scheme is None:
            raise DatasetError(
                f"{text!r} is neither name=value nor a file with labels", code="bad_labels",
                remedy="Write --labels liver=1,tumour=2",
            )  # fmt: skip
        return scheme
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        left, _, right = (piece.strip() for piece in part.partition("="))
        name, value = (right, left) if left.isdecimal() and not right.isdecimal() else (left, right)
        if not name or not re.fullmatch(r"[0-9]+", value):
            raise DatasetError(
                f"{part!r} is not of the form name=value", code="bad_labels", remedy="Write --labels liver=1,tumour=2"
            )
        pairs.append((name, value))
    return LabelScheme.make(_swap(pairs, None))


def find_labels(path: str | Path) -> LabelScheme | None:
    """The label scheme that a folder of masks comes with.

    Args:
        path: the folder, or a ``dataset.json``, ``run.json`` or ``model.json``.
    Returns:
        the scheme in ``run.json``, ``model.json`` or ``dataset.json`` of the folder, else in the ``dataset.json`` of
        the folder above; None where nothing names labels.
    Raises:
        FormatError: a file is not JSON, or its labels are of no known form.
        DatasetError: its labels make no scheme.
    """
    path = Path(path)
    places = [path] if path.is_file() else [path / name for name in ("run.json", "model.json", "dataset.json")]
    for file in [*places, path.parent / "dataset.json"]:
        if not file.is_file() or file.suffix != ".json":
            continue
        content = read_json(file)
        entry = content.get("labels") if isinstance(content, dict) else None
        if not entry:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("labels"), dict):
            return LabelScheme.parse(entry, file=file)
        return _read_scheme(content, file)
    return None
