"""Every error that medseg raises on purpose.

MedsegError
├── DatasetError        a data set, a case or a label that cannot be used (also ValueError)
├── GeometryError       grids that do not fit or cannot be read as millimetres (also ValueError)
├── FormatError         a file that is damaged or not what its name says (also ValueError)
├── PlanError           a plan, configuration or setting that cannot work (also ValueError)
├── ModelError          a model folder or checkpoint that cannot be used (also ValueError)
├── ResourceError       memory, disk, device or a lock that is not to be had (also RuntimeError)
└── MissingExtraError   an optional dependency that is not installed (also ImportError)
"""

from __future__ import annotations

from pathlib import Path


class MedsegError(Exception):
    """An error with the case and file it belongs to and what to do about it.

    Args:
        reason: what is wrong: expected and found, one line.
        code: a short fixed word for machines, such as ``missing_mask``.
        case: the case's name, where there is one.
        file: the file, where there is one.
        remedy: what the user can do, one line.
    """

    code = "error"

    def __init__(
        self,
        reason: str,
        *,
        code: str | None = None,
        case: str | None = None,
        file: str | Path | None = None,
        remedy: str | None = None,
    ) -> None:
        self.reason = " ".join(str(reason).split())
        self.code = code or type(self).code
        self.case = None if case is None else show_name(case)
        self.file = None if file is None else show_name(str(file))
        self.remedy = remedy
        super().__init__(self.reason)

    def __str__(self) -> str:
        """The whole message on one line: case, file, reason, remedy."""
        place = ", ".join(part for part in (self.case, self.file) if part)
        text = f"{place}: {self.reason}" if place else self.reason
        return f"{text}. {self.remedy}" if self.remedy else text

    def for_case(self, case: str) -> MedsegError:
        """The same error with the case's name filled in where it was unknown."""
        self.case = self.case or show_name(case)
        return self


def show_name(name: str) -> str:
    """A name that fits into one line of any log or table: what cannot be shown becomes an escape such as ``\\n``."""
    shown = (letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)
    return "".join(shown)


class DatasetError(MedsegError, ValueError):
    """A data set, a case or a label that cannot be used."""

    code = "dataset"


class GeometryError(MedsegError, ValueError):
    """Grids that do not fit one another or cannot be read as millimetres."""

    code = "geometry"


class FormatError(MedsegError, ValueError):
    """A file that is damaged or is not what its name says."""

    code = "format"


class PlanError(MedsegError, ValueError):
    """A plan, configuration or setting that cannot work."""

    code = "plan"


class ModelError(MedsegError, ValueError):
    """A model folder or checkpoint that cannot be used."""

    code = "model"


class ResourceError(MedsegError, RuntimeError):
    """Memory, disk, device or a lock that is not to be had."""

    code = "resource"


class MissingExtraError(MedsegError, ImportError):
    """An optional dependency that is not installed."""

    code = "missing_extra"
