"""What labels are in the vocabulary of DICOM: kept with a data set and with the models that were trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import model_validator

from medseg.core.records import Record

# DICOM PS3.5, 6.2: a code's value and scheme are short strings, its meaning a long one.
_LONGEST = {"value": 16, "scheme": 16, "meaning": 64}

CodeParts = tuple[str, str, str]


class LabelCodes(Record):
    """What a label is, in codes: each its value, its scheme (``SCT`` is SNOMED CT) and its meaning in words.

    Args:
        type: which thing, ``("10200004", "SCT", "Liver")``.
        category: what kind of thing; an anatomical structure where None.
        region: where in the body; None where the type says it itself or nobody knows.
        side: left or right; None where it has none.
    """

    type: CodeParts
    category: CodeParts | None = None
    region: CodeParts | None = None
    side: CodeParts | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for code in filter(None, (self.type, self.category, self.region, self.side)):
            for (field, longest), text in zip(_LONGEST.items(), code, strict=True):
                if not 0 < len(text.strip()) <= len(text) <= longest or "\\" in text or not text.isprintable():
                    raise ValueError(f"the {field} of a code is {text[:80]!r}, expected 1 to {longest} letters")
        return self


def keep_codes(codes: Mapping[str, LabelCodes], labels: Iterable[str]) -> dict[str, LabelCodes]:
    """The codes of these labels alone."""
    return {label: codes[label] for label in labels if label in codes}
