"""Decoders written in C, asked for the voxels of a file that was checked; they run in a child that may die."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.child import ChildError, Limits, ask_child
from medseg.core.errors import FormatError

SCRIPT = Path(__file__).with_name("decoder_child.py")

SECONDS = 60.0
BYTES_PER_SECOND = 4e7  # a network drive
# A decoder holds the file, the voxels and a copy in another order; its libraries take the rest.
MEMORY_PER_BYTE = 4
EXTRA_MEMORY_BYTES = 2**30
_TYPES = tuple(np.dtype(code).name for code in "?bBhHiIqQfdFD")
_REASONS = {"died": "the decoder crashed", "timeout": "the decoder was stopped", "memory": "the decoder was stopped"}
_REMEDY = "Fetch it again; if it opens elsewhere, convert it to .nii.gz there"


def decode(kind: str, path: str | Path, size: int = 0, **details: Any) -> tuple[dict[str, Any], NDArray[Any]]:
    """What a decoder makes of a file.

    Args:
        kind: which decoder, of those in ``decoder_child.py``.
        path: the file.
        size: bytes that its voxels take when decoded, by its header.
        details: what else the decoder wants to know.
    Returns:
        what it says besides, and the voxels in the axes' order of its library; a single 0 where it gives none.
    Raises:
        FormatError: it cannot read the file, or it died, took too long or wanted far too much memory.
    """
    path = Path(path)
    held = path.stat().st_size
    limits = Limits(
        SECONDS + (held + size) / BYTES_PER_SECOND, MEMORY_PER_BYTE * (held + size) + EXTRA_MEMORY_BYTES, size
    )
    try:
        answer, raw = ask_child(SCRIPT, {"kind": kind, "path": str(path.absolute()), **details}, limits)
    except ChildError as error:
        raise FormatError(
            f"{_REASONS[error.code]}: {error.reason}", code=f"decoder_{error.code}", file=path, remedy=_REMEDY
        ) from None
    if "reason" in answer:
        raise FormatError(answer["reason"], code=answer["code"], file=path, remedy=answer["remedy"])
    return answer, _shape(raw, answer, path)


def _shape(raw: NDArray[np.uint8], answer: dict[str, Any], path: Path) -> NDArray[Any]:
    name, shape = answer.get("dtype", "uint8"), answer.get("shape", [])
    if name not in _TYPES:
        raise FormatError(f"voxels of type {name}", code="bad_data_type", file=path, remedy="Convert it to .nii.gz")
    dtype = np.dtype(name)
    if not raw.size:
        return np.zeros(1, dtype)
    if raw.size != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise FormatError(
            f"the decoder gave {raw.size} bytes for {name} voxels of shape {tuple(shape)}", code="corrupt", file=path,
            remedy=_REMEDY,
        )  # fmt: skip
    voxels: NDArray[Any] = raw.view(dtype).reshape(shape)
    return voxels
