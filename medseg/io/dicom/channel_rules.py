"""Which series is which channel: by rules that a user writes or a model knows, or by what the channels' names mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError
from medseg.io.dicom.series import DicomSeries

# Words of channels' names and the modality that they mean; of other names any modality is taken.
_MODALITIES = {"CT": "CT", "HU": "CT", "PET": "PT", "PT": "PT", "SUV": "PT"} | dict.fromkeys(
    ("MR", "MRI", "T1", "T2", "FLAIR", "DWI", "ADC"), "MR"
)
# Names of channels where they differ from DICOM's modality, and what else modalities are called.
_CHANNELS = {"PT": "PET"}
_SPOKEN = {"PET": "PT", "MRI": "MR"}
_KEYS = ("Modality", "SeriesDescription", "SeriesNumber", "Part", "unit")
_UNITS = {"suvbw": True, "stored": False}
_EXAMPLE = "Write --channels 'CT: Modality=CT; PET: Modality=PT, SeriesDescription=*wholebody*, unit=SUVbw'"
# Descriptions are free text, in which a name may stand: those that one patient's series alone bear are not kept.
_LEAST_PATIENTS, _MOST_FAMILIAR = 2, 20
# What a pattern cannot hold as it is: the marks of rules, and those of patterns.
_MARKS = re.compile(r"[;,:=\[\]*?]")


def fits(rule: ChannelRule, series: DicomSeries) -> bool:
    """Whether a series is one that a rule asks for."""
    first = series.planes[0]
    return (
        spell_modality(rule.modality) in ("", series.modality.upper())
        and rule.number in (None, first.series_number)
        and _is_like(first.description, rule.description)
        and _is_like(series.part, rule.part)
    )


def _is_like(text: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(text.casefold(), pattern.casefold())


def is_familiar(rule: ChannelRule, series: DicomSeries) -> bool:
    """Whether a series bears a description of those that the data set was made from."""
    return _fold(series) in {text.casefold() for text in rule.familiar}


def settle_rules(
    channels: Sequence[str], text: str | None = None, *, known: Sequence[ChannelRule] = ()
) -> tuple[ChannelRule, ...]:
    """A rule for each channel of a model.

    Args:
        channels: the model's.
        text: ``CHANNEL: KEY=VALUE, ...; ...`` with the keys Modality, SeriesDescription (a pattern), SeriesNumber, Part
            (a pattern of what sets volumes of one series apart) and unit (``SUVbw``, which PET becomes where nothing
            else is said, or ``stored``).
        known: the model's own rules, for channels that the text does not name; where there are none, these go by their
            names: one that holds CT, MR, PET, ... takes that modality, and PET as SUVbw.
    Returns:
        the rules in the order of the channels.
    Raises:
        DatasetError: the text names another channel or key, one of them twice, or a value that is none.
    """
    kept = {rule.channel: rule for rule in known}
    basis = {channel: kept.get(channel) or _rule_by_name(channel) for channel in channels}
    stated: dict[str, ChannelRule] = {}
    for part in _split_rules(text):
        channel = part.partition(":")[0].strip()
        if ":" not in part or channel not in basis:
            raise _refuse(f"the rule {part!r} names no channel of the model ({', '.join(channels)})")
        if channel in stated:
            raise _refuse(f"{channel} has two rules")
        stated[channel] = _parse_conditions(part.partition(":")[2], basis[channel])
    return tuple(stated.get(channel, basis[channel]) for channel in channels)


def unite_rules(models: Iterable[Sequence[ChannelRule]], text: str | None = None) -> tuple[ChannelRule, ...]:
    """The rules of models that are averaged.

    Args:
        models: the rules of each; none of a model that does not know them.
        text: what the user states, which then has to do where the models contradict one another.
    Returns:
        the first model's that has some; none where no model has, or they contradict one another.
    Raises:
        DatasetError: they do and the user states nothing.
    """
    known = [tuple(rules) for rules in models if rules]
    asked = {tuple(rule.model_copy(update={"familiar": ()}) for rule in rules) for rules in known}
    if len(asked) < 2:
        return known[0] if known else ()
    if text is None:
        shown = " against ".join(repr("; ".join(map(tell_rule, rules))) for rules in sorted(asked, key=repr))
        raise _refuse(f"the models were trained on series by different rules, {shown}")
    return ()


def read_rules(text: str) -> tuple[ChannelRule, ...]:
    """The rules of a data set that is to be made.

    Args:
        text: as ``settle_rules`` takes it; a channel's name alone is a rule too.
    Returns:
        a rule for each channel, in the order of the text.
    Raises:
        DatasetError: it names no channel, or as ``settle_rules``.
    """
    parts = _split_rules(text)
    channels = list(dict.fromkeys(part.partition(":")[0].strip() for part in parts))
    if not channels or not all(channels):
        raise _refuse(f"{text!r} names no channel")
    return settle_rules(channels, ";".join(part for part in parts if ":" in part))


def name_channel(modality: str) -> str:
    """The channel's name for a modality: ``PET`` for PT, else the modality itself."""
    return _CHANNELS.get(modality, modality or "image")


def spell_modality(text: str) -> str:
    """A modality as DICOM writes it: ``PT`` for ``PET``, ``CT`` for ``ct``; empty for an empty text."""
    return _SPOKEN.get(text.upper(), text.upper())


def tell_rule(rule: ChannelRule) -> str:
    """A rule as ``--channels`` takes it, for messages."""
    stated = {
        "Modality": rule.modality, "SeriesDescription": rule.description,
        "SeriesNumber": "" if rule.number is None else str(rule.number), "Part": rule.part,
        "unit": "SUVbw" if rule.as_suv else "stored" if rule.modality == "PT" else "",
    }  # fmt: skip
    return f"{rule.channel}: {', '.join(f'{key}={value}' for key, value in stated.items() if value)}".rstrip(": ")


def tell_apart(rule: ChannelRule, series: DicomSeries, others: Sequence[DicomSeries]) -> str:
    """A rule that takes one of several series and none of the others, as ``--channels`` takes it.

    Args:
        rule: that fits them all.
        series: the wanted one.
        others: what else fits.
    Returns:
        the text; empty where their numbers, descriptions and parts are the same.
    """
    first = series.planes[0]
    number = None if first.series_number is None or first.series_number < 0 else first.series_number
    description, part = (_MARKS.sub("?", text) for text in (first.description, series.part))
    choices: tuple[dict[str, object], ...] = (
        {"number": number}, {"description": description}, {"number": number, "part": part},
        {"description": description, "part": part},
    )  # fmt: skip
    for change in choices:
        narrow = rule.model_copy(update=change)
        if narrow != rule and not any(fits(narrow, other) for other in others if other is not series):
            return tell_rule(narrow)
    return ""


def learn_descriptions(rule: ChannelRule, taken: Iterable[tuple[str, DicomSeries]]) -> ChannelRule:
    """A rule that knows the descriptions of series that a data set was made from.

    Args:
        rule: of the channel.
        taken: each series with its patient.
    Returns:
        the rule with the most frequent descriptions that series of at least two patients bear.
    """
    bearers = Counter(text for _, text in {(patient, _fold(series)) for patient, series in taken} if text)
    common = sorted((-count, text) for text, count in bearers.items() if count >= _LEAST_PATIENTS)
    return rule.model_copy(update={"familiar": tuple(text for _, text in common[:_MOST_FAMILIAR])})


def _fold(series: DicomSeries) -> str:
    return series.planes[0].description.strip().casefold()


def _split_rules(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def _rule_by_name(channel: str) -> ChannelRule:
    # T1 is a word, of PET2 the letters are one.
    found = re.findall("([A-Z]+)([0-9]*)", channel.upper())
    words = (word for letters, digits in found for word in (letters + digits, letters))
    modality = next((_MODALITIES[word] for word in words if word in _MODALITIES), "")
    return ChannelRule(channel=channel, modality=modality, as_suv=modality == "PT")


def _parse_conditions(text: str, basis: ChannelRule) -> ChannelRule:
    """The rule that a text states; what it leaves out is as in ``basis`` where it states a unit alone."""
    channel = basis.channel
    pairs: dict[str, str] = {}
    for condition in text.split(","):
        key, equals, value = (word.strip() for word in condition.partition("="))
        if not equals or key not in _KEYS or not value:
            raise _refuse(f"{condition.strip()!r} in the rule of {channel}, expected KEY=VALUE with {', '.join(_KEYS)}")
        if key in pairs:
            raise _refuse(f"{key} stands twice in the rule of {channel}")
        pairs[key] = value
    number, unit = pairs.get("SeriesNumber"), pairs.get("unit", "").lower()
    if number is not None and not re.fullmatch("[0-9]+", number):
        raise _refuse(f"SeriesNumber={number} in the rule of {channel}, expected a number")
    if unit and unit not in _UNITS:
        raise _refuse(f"unit={pairs['unit']} in the rule of {channel}, expected SUVbw or stored")
    if pairs.keys() <= {"unit"}:
        return basis.model_copy(update={"as_suv": _UNITS[unit]})
    modality = spell_modality(pairs.get("Modality", ""))
    # Of PET, SUV is what is comparable; a model that was trained on stored values says so.
    as_suv = _UNITS[unit] if unit else basis.as_suv if basis.modality == "PT" else modality == "PT"
    return ChannelRule(
        channel=channel, modality=modality, description=pairs.get("SeriesDescription", ""),
        number=None if number is None else int(number), part=pairs.get("Part", ""), as_suv=as_suv,
    )  # fmt: skip


def _refuse(reason: str) -> DatasetError:
    return DatasetError(reason, code="bad_rule", remedy=_EXAMPLE)
