"""Which structure of an RTSTRUCT is which label: rules by name, in a file that the user writes or edits."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.core.labels import LabelScheme
from medseg.core.records import Record, read_json

# A file's names and a user's patterns are matched against each other; no planning system's names are longer.
LONGEST_PATTERN = 200


class RoiRule(Record):
    """Which structures a label is made of.

    Args:
        patterns: of names, ``*`` for any letters, ``?`` for one, ``[ab]`` for one of these; case does not matter.
        value: in the label map; the label's place in the file, from 1 on, where it is not given.
        several: what becomes of a case where several structures match: ``refuse`` it, or ``unite`` them.
    """

    patterns: tuple[str, ...]
    value: int | None = pydantic.Field(default=None, ge=1, le=65535)
    several: Literal["refuse", "unite"] = "refuse"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _accept_patterns_alone(cls, content: Any) -> Any:
        content = [content] if isinstance(content, str) else content
        return {"patterns": content} if isinstance(content, list | tuple) else content

    @pydantic.field_validator("patterns")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if not patterns or any(not pattern.strip() or len(pattern) > LONGEST_PATTERN for pattern in patterns):
            raise ValueError(f"a label needs patterns of 1 to {LONGEST_PATTERN} letters")
        return patterns


class RoiRules(Record):
    """What ``rois.json`` says.

    Args:
        labels: by the label's name, in the order of their values where none are given.
        unused: patterns of structures that nobody wants; others that no label matches are left out too, but named.
        overlap: what becomes of a case where two labels share voxels: ``refuse`` it, or the ``last`` label wins.
        references: what becomes of a scan on which several files draw wanted structures: ``refuse`` it, or ``unite``
            them as if they were one file.
        skipped_slices: what becomes of a structure with contours on every n-th slice alone, as those drawn on thicker
            slices have: ``refuse`` the case, or ``keep`` it as it is.
    """

    format: Literal["medseg-rois-1"] = "medseg-rois-1"
    labels: dict[str, RoiRule] = pydantic.Field(min_length=1)
    unused: tuple[str, ...] = ()
    overlap: Literal["refuse", "last"] = "refuse"
    references: Literal["refuse", "unite"] = "refuse"
    skipped_slices: Literal["refuse", "keep"] = "refuse"

    @property
    def scheme(self) -> LabelScheme:
        """The labels with their values; raises DatasetError where two have the same."""
        given = {rule.value for rule in self.labels.values()} - {None}
        if given and any(rule.value is None for rule in self.labels.values()):
            raise DatasetError("some labels have a value and others none", code="bad_labels", remedy="Give all or none")
        return LabelScheme.make(
            {name: rule.value or place for place, (name, rule) in enumerate(self.labels.items(), start=1)}
        )


@dataclass(frozen=True)
class RoiChoice:
    """What becomes of the structures of one file.

    Args:
        labels: each label's structures, by their place in the file; empty for a label that has none.
        left: structures that are not used: place and reason.
    """

    labels: dict[str, tuple[int, ...]]
    left: tuple[tuple[int, str], ...]


def read_roi_rules(path: str | Path) -> RoiRules:
    """The rules in a ``rois.json``; raises FormatError listing every fault, DatasetError where values clash."""
    rules = RoiRules.read(path)
    try:
        _ = rules.scheme
    except DatasetError as error:
        raise DatasetError(error.reason, code=error.code, file=path, remedy=error.remedy) from None
    return rules


def is_roi_file(path: str | Path) -> bool:
    """Whether a file is a ``rois.json``: labels with patterns, not a ``dataset.json`` with values.

    Args:
        path: whatever a user names.
    Returns:
        True or False; False too where it is no JSON.
    """
    try:
        content = read_json(path) if Path(path).is_file() else None
    except MedsegError:
        return False
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict) or not isinstance(content, dict):
        return False
    return str(content.get("format", "")).startswith("medseg-rois") or any(map(_is_rule, labels, labels.values()))


def _is_rule(name: str, entry: Any) -> bool:
    if isinstance(entry, dict):
        return "patterns" in entry
    if isinstance(entry, list):
        return any(isinstance(item, str) for item in entry)
    return isinstance(entry, str) and not entry.isdecimal() and not name.isdecimal()


def draft_roi_rules(names: Iterable[str]) -> RoiRules | None:
    """Rules to edit that make every structure a label of its own.

    Args:
        names: of structures, of all files; those that differ in case alone are one.
    Returns:
        the rules, in the order of the names; None where there is no name.
    """
    distinct: dict[str, str] = {}
    for name in sorted(names):
        if fold_name(name):
            distinct.setdefault(fold_name(name), name.strip())
    if not distinct:
        return None
    labels = {
        show_name(name): RoiRule(patterns=(_escape(name)[:LONGEST_PATTERN],), value=value)
        for value, name in enumerate(distinct.values(), start=1)
    }
    return RoiRules(labels=labels)


def match_labels(scheme: LabelScheme) -> RoiRules:
    """Rules by which a structure is of the label that is called as it is; several of one name are united.

    Args:
        scheme: the labels; the rules' own values are not used for one with regions.
    Returns:
        the rules.
    """
    return RoiRules(
        labels={name: RoiRule(patterns=(_escape(name)[:LONGEST_PATTERN],), several="unite") for name in scheme.names}
    )


def fold_name(name: str) -> str:
    """A name without case, outer blanks and the ways to store an accent."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def choose_rois(
    names: Sequence[str],
    rules: RoiRules,
    drawn: Sequence[bool],
    file: str,
    *,
    codes: Sequence[Sequence[str]] = (),
) -> RoiChoice:
    """Which structures of a file make up which label.

    Args:
        names: of the structures, in the file's order.
        rules: what the user said.
        drawn: which of them have contours; the others are left out.
        file: for messages.
        codes: of each structure, what else says what it is (``SCT:10200004``, ``Liver``); a label that no name matches
            takes those that match by these.
    Returns:
        the choice.
    Raises:
        DatasetError: a structure matches two labels, or several match one label that does not unite them.
    """
    labels: dict[str, tuple[int, ...]] = {}
    left: dict[int, str] = {}
    taken: dict[int, str] = {}
    folded = [fold_name(name) for name in names]
    for label, rule in rules.labels.items():
        found = [
            place
            for place, name in enumerate(folded)
            if _matches(name, rule.patterns) or _matches(fold_name(show_name(names[place])), rule.patterns)
        ]
        found = found or [
            place for place, own in enumerate(codes) if any(_matches(fold_name(code), rule.patterns) for code in own)
        ]
        for place in found:
            if taken.setdefault(place, label) != label:
                raise DatasetError(
                    f"the structure {names[place]!r} matches the labels {taken[place]!r} and {label!r}",
                    code="ambiguous_structure", file=file, remedy="Narrow one of their patterns in rois.json",
                )  # fmt: skip
        usable = tuple(place for place in found if drawn[place])
        if len(usable) > 1 and rule.several == "refuse":
            matching = ", ".join(repr(names[place]) for place in usable)
            raise DatasetError(
                f"{len(usable)} structures match the label {label!r}: {matching}", code="several_structures", file=file,
                remedy='Narrow its patterns in rois.json, or write "several": "unite" there',
            )  # fmt: skip
        labels[label] = usable
    for place, name in enumerate(folded):
        if place not in taken:
            unwanted = _matches(name, rules.unused)
            left[place] = "listed as unused" if unwanted else "matches no label's pattern"
        elif not drawn[place]:
            left[place] = "it has no closed contours"
    return RoiChoice(labels, tuple(sorted(left.items())))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, fold_name(pattern)) for pattern in patterns)


def _escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
