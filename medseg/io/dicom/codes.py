"""What a label stands for in the vocabulary of DICOM: codes found by its name, or given by the data set."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from medseg.core.errors import FormatError, show_name
from medseg.core.label_codes import LabelCodes

# Names of structures in words (singular, lower case) and their keyword in pydicom.sr.codedict, SNOMED CT throughout.
_NAMED_ALIKE = (
    "liver kidney spleen pancreas lung heart brain stomach bladder prostate colon trachea aorta gallbladder "
    "rectum duodenum thyroid vertebra rib femur hip sacrum skull clavicle scapula humerus sternum hippocampus "
    "breast eye uterus ovary muscle bone artery vein bronchus spine cerebellum pelvis mandible larynx "
    "pituitary lens skin fat head neck chest abdomen"
)
_ANATOMY = {
    **{name: name.capitalize() for name in _NAMED_ALIKE.split()},
    "oesophagus": "Esophagus", "esophagus": "Esophagus", "urinary bladder": "Bladder", "small bowel": "SmallIntestine",
    "small intestine": "SmallIntestine", "adrenal": "AdrenalGland", "adrenal gland": "AdrenalGland",
    "thyroid gland": "Thyroid", "inferior vena cava": "InferiorVenaCava", "spinal cord": "SpinalCord",
    "portal vein": "PortalVein", "hepatic vein": "HepaticVein", "lymph node": "LymphNode", "optic nerve": "OpticNerve",
    "parotid": "ParotidGland", "parotid gland": "ParotidGland", "brainstem": "BrainStem", "brain stem": "BrainStem",
    "white matter": "WhiteMatter", "gray matter": "GrayMatter", "grey matter": "GrayMatter", "body": "EntireBody",
    "left ventricle": "LeftVentricle", "right ventricle": "RightVentricle", "left atrium": "LeftAtrium",
    "right atrium": "RightAtrium",
}  # fmt: skip
_ABNORMAL = {
    **dict.fromkeys(("tumor", "tumour", "neoplasm", "cancer", "gtv", "carcinoma", "glioma", "sarcoma"), "Neoplasm"),
    **{name: name.capitalize() for name in ("lesion", "mass", "nodule", "cyst", "metastasis", "necrosis", "thrombus")},
    **{name: name.capitalize() for name in ("aneurysm", "edema", "hemorrhage")},
    "oedema": "Edema", "haemorrhage": "Hemorrhage", "bleeding": "Hemorrhage", "pleural effusion": "PleuralEffusion",
}  # fmt: skip
_SIDES = {"left": "Left", "l": "Left", "right": "Right", "r": "Right"}
_PLURALS = {"metastases": "metastasis", "vertebrae": "vertebra", "masses": "mass", "ovaries": "ovary"}
_LONGEST_PHRASE = 3
_CODE_KEYS = ("value", "scheme", "meaning")


class Code(NamedTuple):
    """A coded concept: its value, the scheme that it is from (``SCT``, ``DCM``, ...) and its meaning in words."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Meaning:
    """What a segment is, in codes.

    Args:
        category: what kind of thing (anatomical structure, morphologically abnormal structure, tissue).
        kind: which thing.
        region: where in the body; None where the thing says it itself or nobody knows.
        side: left or right; None where it has none.
        known: whether the label's name or the data set says all this; otherwise it is ``Tissue``, which is always true.
    """

    category: Code
    kind: Code
    region: Code | None = None
    side: Code | None = None
    known: bool = True


def find_meaning(label: str, overrides: Mapping[str, Meaning] | None = None) -> Meaning:
    """What a label's name stands for.

    Args:
        label: such as ``kidney_left``, ``liver tumour``, ``GTV_Mass``.
        overrides: what the data set says, by label.
    Returns:
        its codes; ``Tissue`` with ``known`` false where no word of the name is in the list.
    """
    if overrides and label in overrides:
        return overrides[label]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower()
    words = [_PLURALS.get(word, word) for word in re.findall(r"[^\W\d_]+", spaced)]
    anatomy, abnormal = _find_phrase(words, _ANATOMY), _find_phrase(words, _ABNORMAL)
    side = next((find_code(_SIDES[word]) for word in words if word in _SIDES), None)
    if anatomy in ("LeftVentricle", "RightVentricle", "LeftAtrium", "RightAtrium"):
        side = None  # the name of the structure, not a side of a pair
    if abnormal:
        place = find_code(anatomy) if anatomy else None
        return Meaning(find_code("MorphologicallyAbnormalStructure"), find_code(abnormal), place, side)
    if anatomy:
        return Meaning(find_code("AnatomicalStructure"), find_code(anatomy), None, side)
    tissue = find_code("Tissue")
    return Meaning(tissue, tissue, None, side, known=False)


def _find_phrase(words: Sequence[str], table: Mapping[str, str]) -> str:
    for length in range(min(_LONGEST_PHRASE, len(words)), 0, -1):
        for phrase in _list_phrases(words, length):
            if phrase in table:
                return table[phrase]
    return ""


def _list_phrases(words: Sequence[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1):
        phrase = " ".join(words[start : start + length])
        yield phrase
        if phrase.endswith("s"):
            yield phrase[:-1]


def find_code(keyword: str, scheme: str = "SCT") -> Code:
    """The code that pydicom's dictionary has under a keyword.

    Args:
        keyword: such as ``Liver``.
        scheme: such as ``SCT`` (SNOMED CT), ``DCM``, ``UCUM``.
    Returns:
        the code.
    Raises:
        FormatError: the dictionary has no such scheme or keyword.
    """
    from pydicom.sr.codedict import codes

    try:
        found = getattr(getattr(codes, scheme), keyword)
        return Code(str(found.value), str(found.scheme_designator), str(found.meaning))
    except AttributeError:
        raise FormatError(
            f"no code is called {show_name(keyword)[:80]} in {show_name(scheme)[:20]}", code="bad_codes",
            remedy="Write a keyword of pydicom.sr.codedict, or value, scheme and meaning",
        ) from None  # fmt: skip


def parse_codes(content: Any, *, labels: Collection[str] | None, file: str | Path) -> dict[str, LabelCodes]:
    """What a data set says of its labels, as its ``dataset.json`` has it under ``codes``.

    Args:
        content: ``{"label": {"type": C, "category": C, "region": C, "side": C}}``; each C a keyword (``"Liver"``,
            ``"DCM:..."``) or ``{"value": ..., "scheme": ..., "meaning": ...}``; only ``type`` must be there.
        labels: of the data set; None where they are not known.
        file: where it was read, for the message.
    Returns:
        the codes by label.
    Raises:
        FormatError: not of this form, a label or keyword is unknown, a code is too long for DICOM.
    """
    try:
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} where labels and their codes are expected")
        for label in content:
            if labels is not None and label not in labels:
                raise ValueError(f"codes of {show_name(label)!r}, the labels are {', '.join(labels)}")
        return {label: _parse_entry(label, entry, file) for label, entry in content.items()}
    except ValueError as error:
        raise FormatError(
            error.reason if isinstance(error, FormatError) else str(error), code="bad_codes", file=file,
            remedy='Write "codes": {"liver": {"type": "Liver"}, ...}, or leave them out',
        ) from None  # fmt: skip


def describe_codes(codes: LabelCodes) -> dict[str, dict[str, str]]:
    """The codes of a label as ``parse_codes`` reads them."""
    given = codes.model_dump(exclude_none=True)
    return {field: dict(zip(_CODE_KEYS, code, strict=True)) for field, code in given.items()}


def list_meanings(codes: Mapping[str, LabelCodes]) -> dict[str, Meaning]:
    """What labels are, by label, as ``find_meaning`` takes it."""
    return {label: _make_meaning(entry) for label, entry in codes.items()}


def _make_meaning(entry: LabelCodes) -> Meaning:
    category, region, side = (
        None if code is None else Code(*code) for code in (entry.category, entry.region, entry.side)
    )
    return Meaning(category or find_code("AnatomicalStructure"), Code(*entry.type), region, side)


def _parse_entry(label: str, entry: Any, file: str | Path) -> LabelCodes:
    fields = ("category", "type", "region", "side")
    if not isinstance(entry, dict) or "type" not in entry or set(entry) - set(fields):
        raise ValueError(f"{show_name(label)} has {sorted(entry) if isinstance(entry, dict) else 'no fields'}, expected"
                         f" type and any of {', '.join(fields)}")  # fmt: skip
    return LabelCodes.parse({field: _parse_code(entry[field]) for field in entry}, file=file)


def _parse_code(entry: Any) -> tuple[str, str, str]:
    if isinstance(entry, str):
        scheme, _, keyword = entry.rpartition(":")
        found = find_code(keyword, scheme or "SCT")
        return found.value, found.scheme, found.meaning
    if (
        not isinstance(entry, dict)
        or set(entry) != set(_CODE_KEYS)
        or not all(isinstance(v, str) for v in entry.values())
    ):
        raise ValueError("a code that is neither a keyword nor value, scheme and meaning")
    return entry["value"], entry["scheme"], entry["meaning"]
