"""Room on a disk: asked for before a run, and told in one line where it is used up."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from medseg.core.errors import MedsegError, ResourceError

GO_ON = "the same command goes on where it stopped"
# Faults of a disk that no other case of a run would be spared: code and remedy.
_FULL = ("disk_full", f"Make room there; {GO_ON}")
_FAULTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: ("disk_full", f"Raise the limit on the size of files (ulimit -f); {GO_ON}"),
    errno.EROFS: ("read_only", f"Make the folder writable or name another one; {GO_ON}"),
}
_UNKNOWN = ("cannot_write", f"Make the folder writable or name another one; {GO_ON}")
# What a run leaves free of the room it asks for: tables, logs, other programs.
SPARE_BYTES = 50_000_000


def read_free_room(folder: str | Path) -> int | None:
    """Bytes that this user may still write where a folder is or will be; None where the system does not tell."""
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def require_room(folder: str | Path, needed_bytes: float, purpose: str, *, remedy: str = "") -> None:
    """Refuse what will not fit on a disk, before it begins.

    Args:
        folder: where it will be written; it need not be there yet.
        needed_bytes: an estimate.
        purpose: what is to be written, such as ``preparing 40 cases``.
        remedy: what else than making room would help.
    Raises:
        ResourceError: there is less; both are named, in GB (10^9 bytes).
    """
    free = read_free_room(folder)
    if needed_bytes <= 0 or free is None or free >= needed_bytes + SPARE_BYTES:
        return
    raise ResourceError(
        f"{purpose} needs about {_format_gb(needed_bytes)}, and {_format_gb(free)} are free on its disk",
        code="no_room",
        file=folder,
        remedy=". ".join(filter(None, ("Make room there, or name a folder on another disk", remedy))),
    )


def explain_write(error: OSError, file: str | Path | None = None, case: str | None = None) -> ResourceError:
    """The error that a user reads where a file could not be written.

    Args:
        error: the system's.
        file: what was written, where ``error`` does not say it.
        case: whose it is.
    Returns:
        the error to raise, with code ``disk_full``, ``read_only`` or ``cannot_write``.
    """
    code, remedy = _FAULTS.get(error.errno or 0, _UNKNOWN)
    named = error.filename or file
    free = read_free_room(Path(str(named)).parent) if named and code == "disk_full" else None
    room = "" if free is None else f", {_format_gb(free)} are free"
    reason = f"it cannot be written: {error.strerror or error}{room}"
    return ResourceError(reason, code=code, case=case, file=named, remedy=remedy)


def is_disk_fault(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written, for this case or another."""
    if isinstance(error, MedsegError):
        return error.code in {code for code, _ in _FAULTS.values()}
    return isinstance(error, OSError) and error.errno in _FAULTS


def _format_gb(count: float) -> str:
    return f"{count / 1e9:.3g} GB"
