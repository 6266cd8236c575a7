"""The wanted top-level elements of a DICOM file as bytes, up to its pixels.

A study has thousands of files and each header a hundred elements of which thirty count here; what a slice's sequences
hold does not. Files that a library parses are checked through all levels before (``structure.py``).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, Window, open_window
from medseg.io.dicom.element_walk import ElementWalk
from medseg.io.dicom.encoding import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    FIRST_BYTES,
    IMPLICIT_LITTLE,
    Encoding,
    guess_encoding,
    is_dicom,
    name_syntax,
    read_file_header,
)

# Of a deflated file, the bytes of its header; private elements of some scanners hold megabytes.
LARGEST_HEADER_BYTES = 1 << 28
_INFLATED_STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Elements:
    """What a file's top level holds.

    Args:
        transfer_syntax_uid: as stated, or as the first element shows where nothing states it.
        order: byte order as ``struct`` has it, ``<`` or ``>``.
        values: the bytes of each wanted element that is there, by tag.
        keyword: the element that holds the pixels; empty where there are none.
        offset: of the pixels in the file; None in a deflated one.
        size: of the pixels in bytes; None where they lie in fragments (compressed).
        file_bytes: how long the file is.
        problem: why the walk ended early; ``values`` then holds what came before. None where it did not.
    """

    transfer_syntax_uid: str
    order: str
    values: Mapping[int, bytes]
    keyword: str
    offset: int | None
    size: int | None
    file_bytes: int
    problem: FormatError | None = None


def read_elements(path: Path, wanted: Collection[int]) -> Elements | None:
    """The wanted top-level elements of a file.

    Args:
        path: a plain file.
        wanted: tags, such as 0x00080060.
    Returns:
        the elements; with a problem where the file is truncated, or its elements are nested too deep, too long or no
        elements; None where the file is no DICOM.
    Raises:
        FormatError: the system does not let us read it.
    """
    size = path.stat().st_size
    with open_window(path, size) as window:
        if not is_dicom(window.read(0, min(size, FIRST_BYTES))):
            return None
        values: dict[int, bytes] = {}
        try:
            return _read(window, wanted, values, path)
        except FormatError as error:
            return Elements("", "<", values, "", None, None, size, error)


def _read(window: Window, wanted: Collection[int], values: dict[int, bytes], path: Path) -> Elements:
    file_bytes = window.size
    start, syntax, _ = read_file_header(window)
    fault: FormatError | None = None
    if syntax == DEFLATED_LITTLE:
        data, fault = _inflate(path, start)
        window, start, encoding = Window.of_bytes(data, path), 0, Encoding(True, "<")
    else:
        stated = Encoding(syntax != IMPLICIT_LITTLE, ">" if syntax == EXPLICIT_BIG else "<")
        encoding = guess_encoding(window.read(start, 8)) or stated
    walk = ElementWalk(window, start, encoding, wanted=wanted, deep=False)
    walk.values = values
    try:
        walk.go()
    except FormatError as error:
        raise fault or error from None
    pixels = walk.pixels
    if pixels is None and fault is not None:
        raise fault
    return Elements(
        syntax or name_syntax(encoding),
        encoding.order,
        values,
        "" if pixels is None else pixels.keyword,
        None if syntax == DEFLATED_LITTLE or pixels is None else pixels.offset,
        None if pixels is None else pixels.size,
        file_bytes,
    )


def _inflate(path: Path, start: int) -> tuple[bytes, FormatError | None]:
    """The data set of a deflated file as far as its header may reach, and what is wrong with its bytes."""
    with path.open("rb") as stream:
        stream.seek(start)
        rest = stream.read()
    engine = zlib.decompressobj(-zlib.MAX_WBITS)  # DICOM PS3.5, A.5: without zlib's header
    parts: list[bytes] = []
    total = 0
    try:
        while not engine.eof and total < LARGEST_HEADER_BYTES:
            part = engine.decompress(rest, _INFLATED_STEP_BYTES)
            rest = engine.unconsumed_tail
            if not part and not rest:
                break
            parts.append(part)
            total += len(part)
    except zlib.error as error:
        reason = f"its deflated data are damaged: {error}"
        return b"".join(parts), FormatError(reason, code="corrupt", file=path, remedy=REMEDY)
    return b"".join(parts), None
