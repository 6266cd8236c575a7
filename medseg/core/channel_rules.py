"""Which DICOM series a channel is made from: kept with a data set and with the models that were trained on it."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.core.records import Record


class ChannelRule(Record):
    """Which series a channel takes; what is empty or None asks for nothing.

    Args:
        channel: its name.
        modality: CT, MR, PT, ...
        description: a pattern of the series' description, ``*thorax*``, capitals aside.
        number: of the series.
        part: a pattern of what sets a volume apart from others of its series, ``echo 2 of*``, capitals aside.
        as_suv: whether a PET's values become SUVbw.
        familiar: descriptions of the series that a data set was made from. They ask for nothing, but where several
            series of a study fit and some of them bear such a description, those are taken.
    """

    channel: str
    modality: str = ""
    description: str = ""
    number: int | None = None
    part: str = ""
    as_suv: bool = False
    familiar: tuple[str, ...] = ()


def check_rules(rules: Sequence[ChannelRule], channels: Sequence[str]) -> None:
    """Raises ValueError where there are rules and not one for each channel, in the channels' order."""
    named = [rule.channel for rule in rules]
    if rules and named != list(channels):
        raise ValueError(f"rules of the channels {', '.join(named)}, expected of {', '.join(channels) or 'none'}")


def keep_rules(rules: Sequence[ChannelRule], channels: Sequence[str]) -> tuple[ChannelRule, ...]:
    """The rules where they are of these channels, in this order; else none."""
    return tuple(rules) if [rule.channel for rule in rules] == list(channels) else ()


def rename_rules(rules: Sequence[ChannelRule], channels: Sequence[str]) -> tuple[ChannelRule, ...]:
    """The rules under other names of the same channels; none where there are none.

    Args:
        rules: one for each channel, or none.
        channels: the new names, in the same order.
    Returns:
        the rules.
    """
    pairs = zip(rules, channels, strict=bool(rules))
    return tuple(rule.model_copy(update={"channel": channel}) for rule, channel in pairs)
