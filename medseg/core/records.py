"""Records as JSON on disk: strict on reading, every fault listed with its path."""

from __future__ import annotations

import hashlib
import json
import reprlib
from pathlib import Path
from typing import Any, Self

import pydantic

from medseg.core import atomic
from medseg.core.errors import FormatError

# Of a fault that entries of a list share, so many are named; of what was found, so many characters are shown.
MOST_PLACES, LONGEST_VALUE = 3, 60
# What pydantic puts before the words of a check of ours.
VALIDATOR = "Value error, "


class Record(pydantic.BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def to_json(self) -> str:
        """The record as indented JSON with a newline at the end."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the record to ``path`` as JSON, whole or not at all."""
        atomic.write_text(path, self.to_json())

    @classmethod
    def parse(cls, content: Any, *, file: str | Path | None = None) -> Self:
        """The record that ``content`` (parsed JSON) describes.

        Args:
            content: dictionaries, lists, strings and numbers, as ``json.loads`` gives them.
            file: where it was read, for the message.
        Returns:
            the record.
        Raises:
            FormatError: unknown keys, missing keys or wrong values; all are listed with their paths and what was found,
                of a fault that entries of one list share the first three.
        """
        try:
            return cls.model_validate(content)
        except pydantic.ValidationError as error:
            raise FormatError(
                _list_faults(error), code="bad_record", file=file, remedy="Mend these keys or write the file anew"
            ) from None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The record in the JSON file ``path``; raises FormatError listing every fault."""
        return cls.parse(read_json(path), file=path)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Args:
        path: a UTF-8 file.
    Returns:
        dictionaries, lists, strings, numbers.
    Raises:
        FormatError: the file is missing, cannot be read, is not UTF-8 or not JSON, or names a key of an object twice,
            one of which would be lost; the message gives the line or the key.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise FormatError("a folder, pipe or device, expected a JSON file", code="not_a_file", file=path)
    try:
        return json.loads(Path(path).read_text("utf-8-sig"), object_pairs_hook=_refuse_repetition)
    except FormatError as error:
        raise FormatError(error.reason, code=error.code, file=path, remedy=error.remedy) from None
    except FileNotFoundError:
        raise FormatError("the file does not exist", code="missing_file", file=path) from None
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", code="unreadable", file=path) from None
    except UnicodeDecodeError:
        raise FormatError("the file is not UTF-8 text", code="not_json", file=path) from None
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg} in line {error.lineno}", code="not_json", file=path) from None
    except (RecursionError, ValueError) as error:  # brackets within brackets, numbers of thousands of digits
        raise FormatError(f"not JSON that can be read: {error}", code="not_json", file=path) from None


def _refuse_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        name = next(name for number, (name, _) in enumerate(pairs) if any(name == key for key, _ in pairs[:number]))
        raise FormatError(
            f"the key {name!r} stands twice in one object", code="not_json", remedy="Keep the one that is right"
        )
    return content


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON without NaN, whole or not at all."""
    atomic.write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def hash_json(content: Any) -> str:
    """The SHA-256 of what JSON can hold, however it is laid out in a file: names are text, tuples are lists."""
    plain = json.loads(json.dumps(content))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _list_faults(error: pydantic.ValidationError) -> str:
    """Every fault with its path and what was found; a fault that entries of a list share is said once."""
    shared: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for fault in error.errors():
        path = ".".join(map(str, fault["loc"])) or "top"
        found = "" if fault["type"] == "missing" else _shorten(fault["input"])
        entry = tuple(part for part in fault["loc"] if not isinstance(part, int))
        shared.setdefault((entry, fault["msg"]), []).append((path, found))
    return "; ".join(_tell_fault(str(message), listed) for (_, message), listed in shared.items())


def _tell_fault(message: str, listed: list[tuple[str, str]]) -> str:
    shown, left = listed[:MOST_PLACES], len(listed) - MOST_PLACES
    paths = ", ".join(path for path, _ in shown) + (f" and {left} more" if left > 0 else "")
    found = ", ".join(dict.fromkeys(value for _, value in shown if value))
    return f"{paths}: {message.removeprefix(VALIDATOR)}{f', found {found}' if found else ''}"


def _shorten(value: object) -> str:
    text = reprlib.repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
