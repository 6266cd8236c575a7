"""One pass over the elements of a DICOM data set, without recursion and without trusting a length in it.

pydicom reads lengths and nested sequences as they are stated. Here every length is held against what is there, so that
what pydicom is given afterwards neither lies about lengths nor nests without end, and a header's few wanted elements
can be had at a tenth of what parsing all takes.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, Window, truncated
from medseg.io.dicom.encoding import LONG_TYPES, PIXEL_KEYWORDS, SHORT_TYPES, UNDEFINED, Encoding
from medseg.io.dicom.fragments import list_fragments

# A multi-frame file of 20000 frames with 100 elements each.
LARGEST_COUNT = 4_000_000
# Real objects nest less than ten deep; libraries that recurse end at some hundreds.
DEEPEST_NESTING = 64

_OTHER = frozenset((b"OB", b"OW"))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


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


class _Level(NamedTuple):
    kind: str  # "items" of a data set, "sequence", "fragments"
    end: int  # byte after it; -1 where not stated
    bound: int  # byte that nothing in it may pass
    implicit: bool


class ElementWalk:
    """One pass over the elements of a data set up to its pixels; the levels of nesting are a list, not calls.

    Args:
        window: on the data set.
        start: byte at which it begins.
        encoding: how it is written.
        wanted: tags of top-level elements whose bytes are kept.
        deep: whether all levels are looked at, as a parser would, and the pixels too; else what states its length is
            passed over, as a header's reader may.

    Attributes:
        values: the bytes of each wanted element that was met, by tag.
        elements: how many were met, at all levels that were looked at.
        depth: of the deepest sequence, 0 where there is none.
        pixels: the element with the pixels; None where there is none.
    """

    def __init__(
        self, window: Window, start: int, encoding: Encoding, *, wanted: Collection[int] = (), deep: bool = True
    ) -> None:
        self.window, self.position, self.wanted, self.deep = window, start, wanted, deep
        self.tag, self.short, self.long = (
            struct.Struct(encoding.order + code).unpack_from for code in ("HH", "H", "I")
        )
        self.levels = [_Level("items", window.size, window.size, not encoding.explicit)]
        self.values: dict[int, bytes] = {}
        self.elements = self.depth = 0
        self.pixels: PixelElement | None = None

    def go(self) -> None:
        """Walk to the pixels or the end; raises FormatError where the elements do not fit one another or the file."""
        while self.levels and self.pixels is None:
            level = self.levels[-1]
            if level.end >= 0 and self.position >= level.end:
                self.levels.pop()
            elif level.kind == "items":
                self._visit_element(level)
            else:
                self._visit_item(level)

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
        elif not self.deep:
            if tag in self.wanted and len(self.levels) == 1:
                self.values.setdefault(tag, window.read(value, length))
            self.position = value + length
        elif vr == b"SQ" or (vr in (b"", b"UN") and self._holds_items(tag, value, length)):
            self._open(level, value, value + length, "sequence", level.implicit or vr == b"UN")
        else:
            self.position = value + length

    def _read_length(self, data: bytes, at: int, level: _Level) -> tuple[bytes, int, int]:
        """The value representation, where the value begins, and its length."""
        vr = b"" if level.implicit else data[at + 4 : at + 6]
        if vr in SHORT_TYPES:
            return vr, self.position + 8, self.short(data, at + 6)[0]
        if vr in LONG_TYPES:
            if level.bound - self.position < 12:
                raise truncated(self.window, "it ends within an element's length")
            return vr, self.position + 12, self.long(data, at + 8)[0]
        if vr.isalpha() and vr.isupper():  # one that no edition has; parsers take it for a short one
            return vr, self.position + 8, self.short(data, at + 6)[0]
        if not self.deep and vr and len(self.levels) == 1:
            raise _damaged(self.window, f"no element at byte {self.position}: its type is {ascii(vr)[1:]}")
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
        if level.kind == "fragments" or length == 0 or (not self.deep and length != UNDEFINED):
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
        if not self.deep:
            size = None if length == UNDEFINED else length
            return PixelElement(PIXEL_KEYWORDS[tag], value, size, value + (size or 0), 0, name)
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
