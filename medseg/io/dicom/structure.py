"""Bounded check of a DICOM file before a parser sees it: whether its elements fit one another and the file.

pydicom reads lengths and nested sequences as they are stated. Here every element is visited once, without recursion
and without reading values, so that what pydicom is given afterwards neither lies about lengths nor nests without end.
The encoding is that of DICOM PS3.5 section 7 (elements, sequences) and annex A (transfer syntaxes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, Window, inflate, open_window, truncated
from medseg.io.dicom.elements import (
    DEEPEST_NESTING,
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PIXEL_KEYWORDS,
    UNDEFINED,
    is_dicom,
)
from medseg.io.dicom.fragments import list_fragments
from medseg.io.guard import check_regular

NATIVE_SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG)

# A multi-frame file of 20000 frames with 100 elements each.
LARGEST_COUNT = 4_000_000
PREAMBLE_BYTES = 128
_FIRST_BYTES = 160  # as many as elements.is_dicom asks for

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_OTHER = frozenset((b"OB", b"OW"))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX = 0x00020010


class PixelElement(NamedTuple):
    """The element that holds a file's pixels.

    Args:
        keyword: its name.
        offset: byte at which its value begins, of the file or of the inflated data set.
        size: bytes of the value; None for compressed frames, whose fragments follow one another up to ``end``.
        end: byte after its last one.
        fragments: how many there are, the offset table before them not counted; 0 where ``size`` is stated.
        vr: the value representation, such as ``OW``; empty where the encoding has none.
    """

    keyword: str
    offset: int
    size: int | None
    end: int
    fragments: int
    vr: str


@dataclass(frozen=True, slots=True)
class Structure:
    """How a file's elements lie.

    Args:
        transfer_syntax_uid: as the file states it; where it states none, the one its first element is written in.
        implicit, big_endian: how elements are written, which may differ from what the transfer syntax says.
        start: byte at which the data set begins, after the file's own header.
        has_preamble: whether the file begins with 128 free bytes and ``DICM``.
        elements: how many there are before the pixels, at all levels.
        depth: of the deepest sequence, 0 where there is none.
        pixels: None where the file has none.
    """

    transfer_syntax_uid: str
    implicit: bool
    big_endian: bool
    start: int
    has_preamble: bool
    elements: int
    depth: int
    pixels: PixelElement | None


def check_structure(path: str | Path) -> Structure:
    """Refuse a file that is no DICOM or whose elements do not fit it, before a parser sees it.

    Args:
        path: the file, with or without preamble and file header.
    Returns:
        how its elements lie, and where its pixels are.
    Raises:
        FormatError: no DICOM, truncated, lengths that contradict one another, or nested without end.
        ResourceError: a deflated data set that the memory cannot hold.
    """
    size = check_regular(path)
    with open_window(path, size) as window:
        start, syntax, has_preamble = _read_file_header(window)
        if syntax == DEFLATED_LITTLE:
            window = Window.of_bytes(inflate(path, start), path)
            implicit, big_endian = _find_encoding(window, 0, syntax)
            elements, depth, pixels = _Walk(window, 0, implicit, big_endian).go()
        else:
            implicit, big_endian = _find_encoding(window, start, syntax)
            elements, depth, pixels = _Walk(window, start, implicit, big_endian).go()
    if not syntax:
        syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_BIG if big_endian else EXPLICIT_LITTLE
    return Structure(syntax, implicit, big_endian, start, has_preamble, elements, depth, pixels)


def _read_file_header(window: Window) -> tuple[int, str, bool]:
    """Where the data set begins, its transfer syntax (empty where not stated), whether there is a preamble."""
    first = window.read(0, min(window.size, _FIRST_BYTES))
    has_preamble = first[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"
    if not has_preamble and (first[:4] == b"DICM" or not is_dicom(first)):
        raise FormatError("not a DICOM file", code="not_dicom", file=window.path, remedy="Leave it out")
    position, syntax = (PREAMBLE_BYTES + 4 if has_preamble else 0), ""
    while position + 8 <= window.size:
        head = window.read(position, 8)
        group, element, vr, length = struct.unpack("<HH2sH", head)
        if group != 2:
            break
        position += 8
        if vr in _LONG and position + 4 <= window.size:
            length = struct.unpack("<I", window.read(position, 4))[0]
            position += 4
        elif vr not in _SHORT:
            raise _damaged(window, "its file header breaks off or is not in explicit little endian")
        value = window.read(position, length) if (group << 16 | element) == _SYNTAX and length <= 64 else b""
        syntax = value.rstrip(b"\0 ").decode("ascii", "replace") or syntax
        position += length
    if position + 8 > window.size:
        raise truncated(window, "its header goes up to the last byte or beyond")
    return position, syntax, has_preamble


def _find_encoding(window: Window, position: int, syntax: str) -> tuple[bool, bool]:
    """Whether elements are implicit and big endian; the first element counts where it contradicts the syntax."""
    head = window.read(position, 8)
    implicit = not all(0x41 <= byte <= 0x5A for byte in head[4:6])
    big_endian = syntax == EXPLICIT_BIG or (not syntax and not implicit and head[0] == 0 and head[1] != 0)
    return implicit, big_endian


class _Level(NamedTuple):
    kind: str  # "items" of a data set, "sequence", "fragments"
    end: int  # byte after it; -1 where not stated
    bound: int  # byte that nothing in it may pass
    implicit: bool


class _Walk:
    """One pass over the elements of a data set; the levels of nesting are a list, not calls."""

    def __init__(self, window: Window, start: int, implicit: bool, big_endian: bool) -> None:
        self.window, self.position, self.big_endian = window, start, big_endian
        order = ">" if big_endian else "<"
        self.tag, self.short, self.long = (struct.Struct(order + code).unpack_from for code in ("HH", "H", "I"))
        self.levels = [_Level("items", window.size, window.size, implicit)]
        self.elements = self.depth = 0
        self.pixels: PixelElement | None = None

    def go(self) -> tuple[int, int, PixelElement | None]:
        while self.levels and self.pixels is None:
            level = self.levels[-1]
            if level.end >= 0 and self.position >= level.end:
                self.levels.pop()
            elif level.kind == "items":
                self._visit_element(level)
            else:
                self._visit_item(level)
        return self.elements, self.depth, self.pixels

    def _visit_element(self, level: _Level) -> None:
        window, position = self.window, self.position
        if level.bound - position < 8:
            if len(self.levels) == 1 and not any(window.read(position, level.bound - position)):
                self.position = level.bound  # a padded last block
                return
            raise truncated(window, f"{level.bound - position} bytes are left for an element of at least 8")
        data, at = window.reach(position, 12)
        group, element = self.tag(data, at)
        tag = group << 16 | element
        vr, value, length = self._read_length(data, at, level)
        if tag in (_ITEM_END, _SEQUENCE_END):
            self._close_item(level, tag)
            return
        self.elements += 1
        if self.elements > LARGEST_COUNT:
            raise _damaged(window, f"more than {LARGEST_COUNT} elements")
        if tag == 0 and len(self.levels) == 1 and not any(window.read(position, min(4096, level.bound - position))):
            self.position = level.bound  # zeros after the last element
            return
        if tag in PIXEL_KEYWORDS and len(self.levels) == 1:
            self.pixels = self._find_pixels(tag, vr, value, length)
        elif length == UNDEFINED:
            self._open(level, value, -1, "fragments" if vr in _OTHER else "sequence", level.implicit or vr == b"UN")
        elif value + length > level.bound:
            raise truncated(window, f"element {_show(tag)} of {length} bytes, {max(level.bound - value, 0)} are there")
        elif vr == b"SQ" or (vr in (b"", b"UN") and self._holds_items(tag, value, length)):
            self._open(level, value, value + length, "sequence", level.implicit or vr == b"UN")
        else:
            self.position = value + length

    def _read_length(self, data: bytes, at: int, level: _Level) -> tuple[bytes, int, int]:
        """The value representation, where the value begins, and its length."""
        vr = b"" if level.implicit else data[at + 4 : at + 6]
        if vr in _SHORT:
            return vr, self.position + 8, self.short(data, at + 6)[0]
        if vr in _LONG:
            if level.bound - self.position < 12:
                raise truncated(self.window, "it ends within an element's length")
            return vr, self.position + 12, self.long(data, at + 8)[0]
        if vr and b"AA" <= vr <= b"ZZ":  # one that no edition has; parsers take it for a short one
            return vr, self.position + 8, self.short(data, at + 6)[0]
        return b"", self.position + 8, self.long(data, at + 4)[0]  # some writers change to implicit within sequences

    def _close_item(self, level: _Level, tag: int) -> None:
        if len(self.levels) == 1:
            raise _damaged(self.window, "the end of an item outside of any sequence")
        if tag == _SEQUENCE_END:
            raise _damaged(self.window, "a sequence ends within its item")
        self.position += 8
        if level.end < 0:
            self.levels.pop()

    def _visit_item(self, level: _Level) -> None:
        window, position = self.window, self.position
        if level.bound - position < 8:
            raise truncated(window, "a sequence has no end")
        data, at = window.reach(position, 8)
        group, element = self.tag(data, at)
        tag, length = group << 16 | element, self.long(data, at + 4)[0]
        self.position += 8
        if tag == _SEQUENCE_END:
            if level.end < 0:
                self.levels.pop()
            return
        if tag != _ITEM:
            raise _damaged(window, f"element {_show(tag)} where an item of a sequence should begin")
        self.elements += 1
        if level.kind == "fragments" or length == 0:
            self.position += length if length != UNDEFINED else window.size
            if self.position > level.bound:
                raise truncated(window, f"a fragment of {length} bytes, fewer are there")
            return
        end = -1 if length == UNDEFINED else self.position + length
        if end > level.bound:
            raise truncated(window, f"an item of {length} bytes, {level.bound - self.position} are there")
        bound = level.bound if end < 0 else end
        self.levels.append(_Level("items", end, bound, level.implicit or self._begins_implicit(bound)))

    def _begins_implicit(self, bound: int) -> bool:
        """Whether an item of an explicit file is written without types throughout, as pydicom decides it."""
        head = self.window.read(self.position, min(6, bound - self.position))
        tag = self.tag(head, 0) if len(head) == 6 else (0xFFFE, 0)
        return tag[0] != 0xFFFE and not all(0x41 <= byte <= 0x5A for byte in head[4:])

    def _open(self, level: _Level, value: int, end: int, kind: str, implicit: bool) -> None:
        depth = 1 + sum(one.kind == "sequence" for one in self.levels)
        if depth > DEEPEST_NESTING:
            raise FormatError(
                f"more than {DEEPEST_NESTING} sequences within one another", code="too_deep", file=self.window.path,
                remedy=REMEDY,
            )  # fmt: skip
        self.depth = max(self.depth, depth)
        self.levels.append(_Level(kind, end, level.bound if end < 0 else end, implicit))
        self.position = value

    def _holds_items(self, tag: int, value: int, length: int) -> bool:
        """Whether an element without value representation is a sequence, by the standard's dictionary."""
        if length < 8 or tag >> 16 & 1:
            return False
        data, at = self.window.reach(value, 4)
        group, element = self.tag(data, at)
        if group << 16 | element != _ITEM:
            return False
        from pydicom.datadict import dictionary_has_tag, dictionary_VR

        return dictionary_has_tag(tag) and str(dictionary_VR(tag)) == "SQ"

    def _find_pixels(self, tag: int, vr: bytes, value: int, length: int) -> PixelElement:
        name = vr.decode("ascii", "replace")
        if length == UNDEFINED:
            fragments, end = list_fragments(self.window, value)
            return PixelElement(PIXEL_KEYWORDS[tag], value, None, end, len(fragments) - 1, name)
        if value + length > self.window.size:
            raise truncated(self.window, f"{length} bytes of pixels, {self.window.size - value} are there")
        return PixelElement(PIXEL_KEYWORDS[tag], value, length, value + length, 0, name)


def _show(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _damaged(window: Window, what: str) -> FormatError:
    return FormatError(f"damaged: {what}", code="corrupt", file=window.path, remedy=REMEDY)
