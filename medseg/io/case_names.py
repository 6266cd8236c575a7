"""Which names a case may have: output files are called after it, so that a name must never lead out of a folder."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from medseg.core.errors import DatasetError

# File systems allow 255 bytes; what is added to a case's name (endings, temporary marks) stays below 55.
LONGEST_NAME_BYTES = 200


def check_case_name(name: str) -> None:
    """Refuse a name that is no plain file name.

    Args:
        name: of a case, from a file's name or from a table.
    Raises:
        DatasetError: it is empty, hidden, has separators of folders, line breaks or the like, begins or ends with a
            blank, or is too long for a file.
    """
    reason = _find_fault(name)
    if reason:
        raise DatasetError(
            f"{name[:80]!r} is no name for a case: {reason}",
            code="bad_name",
            case=name or None,
            remedy="Rename it; letters, digits, _ and - always work",
        )


def _find_fault(name: str) -> str:
    if not name:
        return "it is empty"
    if any(letter in name for letter in "/\\"):
        return "it holds a separator of folders, and output files are called after it"
    if name.startswith("."):
        return "it begins with a dot, as hidden files do"
    if name != name.strip():
        return "it begins or ends with a blank"
    if any(letter < " " or letter == "\x7f" or "\ud800" <= letter <= "\udfff" for letter in name):
        return "it holds what is no letter of any text"
    size = len(name.encode())
    return f"it is {size} bytes long, expected at most {LONGEST_NAME_BYTES}" if size > LONGEST_NAME_BYTES else ""


def find_alike(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that are one file's on many disks: they differ in upper and lower case or in how accents are stored alone.

    Args:
        names: of cases, without repetitions.
    Returns:
        each such name to all that are like it, itself among them; empty where there are none.
    """
    names = list(names)
    keys = {name: unicodedata.normalize("NFC", name).casefold() for name in names}
    times = Counter(keys.values())
    doubtful = [name for name in names if times[keys[name]] > 1]
    return {name: tuple(other for other in doubtful if keys[other] == keys[name]) for name in doubtful}
