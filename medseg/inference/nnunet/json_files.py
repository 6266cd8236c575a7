"""nnU-Net's JSON files: bounded before they are parsed, their parts checked afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pydantic

from medseg.core.errors import FormatError
from medseg.core.records import Record, read_json

LARGEST_JSON_BYTES = 64 * 2**20  # a fingerprint lists every case; plans are below 1 MB
MEND = "Use the file as nnU-Net wrote it"
LONGEST_REASON = 300  # characters; a file may have as many faults as it has numbers

Part = TypeVar("Part", bound=Record)


class Kept(Record):
    """A record of the entries that medseg reads, among others that it need not know."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in one of nnU-Net's JSON files.

    Args:
        path: the file.
    Returns:
        its content.
    Raises:
        FormatError: it is missing, too large, not JSON or no object.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size > LARGEST_JSON_BYTES:
        raise FormatError(f"{path.stat().st_size / 2**20:.0f} MB of JSON", code="too_large", file=path)
    try:
        content = read_json(path)
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        if isinstance(error, FormatError):
            raise
        raise FormatError("lists within lists without end, or numbers", code="not_json", file=path) from None
    if not isinstance(content, dict):
        raise FormatError("expected an object", code="bad_record", file=path)
    return content


def parse_part(kind: type[Part], content: Any, file: str | Path) -> Part:
    """Part of a file's content as a record.

    Args:
        kind: the record.
        content: what stands in the file.
        file: where it was read, for messages.
    Returns:
        the record.
    Raises:
        FormatError: keys are missing or unknown or values out of range; the reason names the first of them.
    """
    try:
        return kind.parse(content, file=file)
    except FormatError as error:
        reason = error.reason
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]} ..."
        raise FormatError(reason, code="bad_plan", file=file, remedy=MEND) from None
