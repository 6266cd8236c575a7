"""Values of DICOM elements as numbers and text, out of their bytes; what is no value of its kind is refused."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import FormatError, show_name
from medseg.io.dicom.elements import Elements
from medseg.io.dicom.identity import quiet

_CHARACTER_SET = 0x00080005
_BLANK = b" \0"
_TIME = re.compile(rb"^(\d\d):?(\d\d)?:?(\d\d)?(\.\d{1,6})?$")


@dataclass(frozen=True, slots=True)
class Fields:
    """The elements of one file, asked for by tag; a missing or empty one is None or an empty text.

    Args:
        elements: as they were read.
        path: for messages.
    """

    elements: Elements
    path: Path

    def bytes_of(self, tag: int) -> bytes:
        """The value without what fills it up."""
        return self.elements.values.get(tag, b"").strip(_BLANK)

    def code(self, tag: int) -> str:
        """A text of plain letters, such as a UID or a coded word; others become escapes."""
        return self.bytes_of(tag).decode("ascii", "backslashreplace")

    def codes(self, tag: int) -> tuple[str, ...]:
        """The values of a list of coded words; ``()`` where there are none."""
        text = self.code(tag)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def text(self, tag: int) -> str:
        """A free text in the file's character set; what cannot be decoded becomes escapes."""
        raw = self.bytes_of(tag)
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii")
        return _decode(raw, self.codes(_CHARACTER_SET))

    def numbers(self, tag: int, count: int) -> tuple[float, ...] | None:
        """Finite numbers that are written as decimal text; raises FormatError where there are not ``count`` of them."""
        raw = self.bytes_of(tag)
        if not raw:
            return None
        try:
            values = tuple(map(float, raw.split(b"\\")))
        except ValueError:
            values = ()
        if len(values) != count or not all(map(math.isfinite, values)):
            raise self.refuse(tag, f"{count} finite number{'s' if count > 1 else ''}", raw)
        return values

    def number(self, tag: int) -> float | None:
        """One finite number that is written as decimal text; raises FormatError for anything else."""
        values = self.numbers(tag, 1)
        return None if values is None else values[0]

    def integer(self, tag: int) -> int | None:
        """A whole number that is written as text; None also where it is none (such numbers only tell planes apart)."""
        try:
            return int(self.bytes_of(tag))
        except ValueError:
            return None

    def loose_number(self, tag: int) -> float | None:
        """A number that only tells planes apart: as ``number``, but None where it is none."""
        try:
            value = float(self.bytes_of(tag))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def short(self, tag: int) -> int | None:
        """A 16-bit unsigned integer; raises FormatError where there are other than two bytes."""
        raw = self.elements.values.get(tag, b"")
        if not raw:
            return None
        if len(raw) != 2:
            raise self.refuse(tag, "two bytes", raw)
        return int(struct.unpack(self.elements.order + "H", raw)[0])

    def double(self, tag: int) -> float | None:
        """A 64-bit number that only tells planes apart; None where it is none."""
        raw = self.elements.values.get(tag, b"")
        if len(raw) != 8:
            return None
        value = float(struct.unpack(self.elements.order + "d", raw)[0])
        return value if math.isfinite(value) else None

    def seconds(self, tag: int) -> float | None:
        """A time of day (``HHMMSS.ffffff``) as seconds since midnight; None where it is none."""
        return read_time(self.bytes_of(tag))

    def refuse(self, tag: int, expected: str, found: bytes) -> FormatError:
        """The FormatError for a value of an element that is not what it should be."""
        shown = show_name(found[:60].decode("latin-1"))
        return FormatError(
            f"{name_tag(tag)} is '{shown}', expected {expected}", code="bad_header", file=self.path,
            remedy="Export the series again, or correct the header",
        )  # fmt: skip


def _decode(raw: bytes, character_sets: tuple[str, ...]) -> str:
    from pydicom.charset import decode_bytes, default_encoding, python_encoding

    # A set that is none is taken as pydicom takes it, so that an object that is written for a scan names it alike.
    codecs = [python_encoding.get(name, default_encoding) for name in character_sets or ("",)]
    if len(codecs) == 1:
        return raw.decode(codecs[0], "backslashreplace")
    # pydicom remarks on what it cannot decode with the text itself.
    with quiet():
        try:
            return decode_bytes(raw, codecs, set())
        except (LookupError, ValueError):
            return raw.decode("ascii", "backslashreplace")


def read_time(raw: bytes) -> float | None:
    """A time of day (``HHMMSS.ffffff``) as seconds since midnight; None where it is none."""
    match = _TIME.match(raw)
    if match is None:
        return None
    hours, minutes, seconds = (int(match[part] or 0) for part in (1, 2, 3))
    return 3600.0 * hours + 60.0 * minutes + seconds + float(match[4] or 0)


def name_tag(tag: int) -> str:
    """An element's name by the standard and its tag, such as ``PixelSpacing (0028,0030)``."""
    from pydicom.datadict import keyword_for_tag

    return f"{keyword_for_tag(tag) or 'the element'} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
