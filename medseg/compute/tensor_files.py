"""Tensors as safetensors files, read back before they count as written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core import atomic
from medseg.core.errors import FormatError
from medseg.core.manifest import hash_file

if TYPE_CHECKING:
    from torch import Tensor

# How the library, which is written in Rust, tells the system's errors.
_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors as safetensors, whole or not at all.

    Args:
        path: the file; its folder is made where missing.
        tensors: name to tensor, on any device.
    Returns:
        the SHA-256 of the file, which was read back and holds these tensors to the last bit.
    Raises:
        OSError: the disk is full, the folder cannot be written, or the disk gives back something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digests: list[str] = []

    def verify(temporary: Path) -> None:
        _compare(temporary, plain)
        digests.append(hash_file(temporary))

    with atomic.atomic_path(path, verify) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:
            raise _as_system_error(error, path) from None
    return digests[0]


def read_tensors(path: str | Path, digest: str | None = None) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: the file.
        digest: the SHA-256 that its content must have; not checked where None.
    Returns:
        name to tensor, on the CPU.
    Raises:
        FormatError: it is missing, cut short, damaged, or not the file that ``digest`` belongs to.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        matches = digest is None or hash_file(path) == digest
        if matches:
            return load_file(path)
    except OSError as error:
        raise FormatError(f"it cannot be read: {error.strerror or error}", code="missing_file", file=path) from None
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"it holds no tensors: {error}", code="damaged", file=path) from None
    raise FormatError("its content does not match its hash", code="damaged", file=path)


def _compare(path: Path, tensors: Mapping[str, Tensor]) -> None:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            same = set(stored.keys()) == set(tensors) and all(
                torch.equal(_as_bytes(stored.get_tensor(name)), _as_bytes(tensor)) for name, tensor in tensors.items()
            )
    except SafetensorError as error:
        raise OSError(errno.EIO, f"what was written cannot be read back ({error})", str(path)) from None
    if not same:
        raise OSError(errno.EIO, "the disk gives back other numbers than were written", str(path))


def _as_bytes(tensor: Tensor) -> Tensor:
    import torch

    return tensor.reshape(-1).view(torch.uint8)  # NaN equals NaN here, and 0 does not equal -0


def _as_system_error(error: Exception, path: str | Path) -> OSError:
    found = _SYSTEM_ERROR.search(str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number) if found else str(error), str(path))
