"""Which series is which channel of a model: by rules that a user writes, or by what the channels' names mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from medseg.core.errors import DatasetError
from medseg.io.dicom.series import DicomSeries

# Words of channels' names and the modality that they mean; of other names any modality is taken.
_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT", "SUV": "PT"}
_KEYS = ("Modality", "SeriesDescription", "SeriesNumber", "unit")
_UNITS = {"suvbw": True, "stored": False}
_REMEDY = "Write --channels 'CT: Modality=CT; PET: Modality=PT, SeriesDescription=*wholebody*, unit=SUVbw'"


@dataclass(frozen=True)
class ChannelRule:
    """Which series a channel takes; what is empty or None asks for nothing.

    Args:
        channel: its name.
        modality: CT, MR, PT, ...
        description: a pattern of the series' description, ``*thorax*``, capitals aside.
        number: of the series.
        as_suv: whether a PET's values become SUVbw.
    """

    channel: str
    modality: str = ""
    description: str = ""
    number: int | None = None
    as_suv: bool = False

    def fits(self, series: DicomSeries) -> bool:
        """Whether a series is one that the rule asks for."""
        first = series.planes[0]
        return (
            self.modality in ("", series.modality)
            and self.number in (None, first.series_number)
            and (not self.description or fnmatchcase(first.description.casefold(), self.description.casefold()))
        )


def settle_rules(channels: Sequence[str], text: str | None = None) -> tuple[ChannelRule, ...]:
    """A rule for each channel of a model.

    Args:
        channels: the model's.
        text: ``CHANNEL: KEY=VALUE, ...; ...`` with the keys Modality, SeriesDescription (a pattern), SeriesNumber and
            unit (``SUVbw``, ``stored``); channels that it does not name, and all where it is None, go by their names:
            one that holds CT, MR, PET, ... takes that modality, and PET as SUVbw.
    Returns:
        the rules in the order of the channels.
    Raises:
        DatasetError: the text names another channel or key, or a value that is none.
    """
    stated = dict(_parse_rule(part, channels) for part in (text or "").split(";") if part.strip())
    return tuple(stated.get(channel) or _rule_by_name(channel) for channel in channels)


def _rule_by_name(channel: str) -> ChannelRule:
    words = re.findall("[A-Z]+", channel.upper())
    modality = next((_MODALITIES[word] for word in words if word in _MODALITIES), "")
    return ChannelRule(channel, modality, as_suv=modality == "PT")


def _parse_rule(part: str, channels: Sequence[str]) -> tuple[str, ChannelRule]:
    name, colon, conditions = part.partition(":")
    channel = name.strip()
    if not colon or channel not in channels:
        raise _refuse(f"the rule {part.strip()!r} names no channel of the model ({', '.join(channels)})")
    pairs: dict[str, str] = {}
    for condition in conditions.split(","):
        key, equals, value = (word.strip() for word in condition.partition("="))
        if not equals or key not in _KEYS or not value:
            raise _refuse(f"{condition.strip()!r} in the rule of {channel}, expected KEY=VALUE with {', '.join(_KEYS)}")
        pairs[key] = value
    number, unit = pairs.get("SeriesNumber"), pairs.get("unit", "").lower()
    if number is not None and not number.isdecimal():
        raise _refuse(f"SeriesNumber={number} in the rule of {channel}, expected a number")
    if unit and unit not in _UNITS:
        raise _refuse(f"unit={pairs['unit']} in the rule of {channel}, expected SUVbw or stored")
    own = _rule_by_name(channel)
    return channel, ChannelRule(
        channel,
        pairs.get("Modality", own.modality if pairs.keys() <= {"unit"} else ""),
        pairs.get("SeriesDescription", ""),
        None if number is None else int(number),
        _UNITS[unit] if unit else own.as_suv,
    )


def _refuse(reason: str) -> DatasetError:
    return DatasetError(reason, code="bad_rule", remedy=_REMEDY)
