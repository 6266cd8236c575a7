"""Tables of variants by name: losses, networks, metrics, formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from medseg.core.errors import PlanError

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """A table from name to function; what a plan or a user names is looked up here and nowhere else.

    Args:
        kind: what the table holds, for messages: ``network``, ``loss``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that enters a function under ``name``.

        PlanError is raised where the name is taken, but by the same function, defined anew in a notebook's cell.
        """

        def enter(entry: Entry) -> Entry:
            if name in self._entries and _place(entry) != _place(self._entries[name]):
                raise PlanError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str | Entry) -> Entry:
        """The entry called ``name``, or ``name`` itself where it is an object; raises PlanError listing the names."""
        if not isinstance(name, str):
            return name
        if name not in self._entries:
            raise PlanError(f"unknown {self.kind} {name!r}", remedy=f"Known: {', '.join(self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


def _place(entry: object) -> object:
    """Where a function or class is defined; of other objects the object itself."""
    if not hasattr(entry, "__qualname__"):
        return id(entry)
    return entry.__module__, entry.__qualname__
