"""Opening nnU-Net's ``.pth`` files, in a process of their own with little memory.

Such a file is a pickle in a zip. It is read by PyTorch's restricted reader, which makes nothing but tensors, plain
values and the few types listed here, in a child process that may neither grow nor run for long. The child is this very
file; what it found comes back as a safetensors file and JSON, never as a pickle.
"""

from __future__ import annotations

import _codecs
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from safetensors.torch import load_file, save_file
from torch import Tensor

from medseg.compute.child import Answer, ChildError, Limits, ask_child, lower_limit, serve
from medseg.core.errors import FormatError, ModelError

# What nnU-Net's checkpoints hold besides what PyTorch allows by itself: numbers of the training log as numpy scalars.
# The second name is the one of numpy before 2.0.
ALLOWED: tuple[Any, ...] = (
    numpy_scalar,
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
    _codecs.encode,
)
WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)

LARGEST_FILE_BYTES = 16 * 2**30  # the largest nnU-Net network has 0.4 GB of weights, twice that with its optimiser
LARGEST_PICKLE_BYTES = 64 * 2**20  # everything but the tensors; nnU-Net's are below 1 MB
# The child maps the file, copies the weights and writes them out; beyond that PyTorch needs little.
MEMORY_PER_FILE_BYTE = 4
EXTRA_MEMORY_BYTES = 2**30
EXTRA_OUTPUT_BYTES = 64 * 2**20
SECONDS = 120.0
BYTES_PER_SECOND = 5e6  # a slow network drive

WEIGHTS = "weights.safetensors"
DAMAGED = "Copy the file again; it is truncated or damaged"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint says.

    Args:
        weights: the network's state as nnU-Net names it, aliases included.
        configuration: the configuration that was trained.
        trainer: the class that trained it.
        mirror_axes: the axes that prediction may flip, of the network's own patch (two in 2D).
    """

    weights: dict[str, Tensor]
    configuration: str
    trainer: str
    mirror_axes: tuple[int, ...]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The network's weights and the few values beside them that prediction needs.

    Args:
        path: a ``checkpoint_final.pth`` or ``checkpoint_best.pth``.
    Returns:
        the checkpoint.
    Raises:
        FormatError: the file is missing, empty, truncated or no PyTorch checkpoint.
        ModelError: it holds something that nnU-Net's checkpoints do not, lacks what they have, or asks for more memory
            or time than its size explains.
    """
    path = Path(path)
    size = _check_size(path)
    with tempfile.TemporaryDirectory(prefix="medseg-checkpoint-") as folder:
        answer = _run_child(path, Path(folder), size)
        weights = load_file(Path(folder) / WEIGHTS)
    weights |= {alias: weights[name] for alias, name in answer["aliases"].items()}
    return Checkpoint(weights, answer["configuration"], answer["trainer"], tuple(answer["mirror_axes"]))


def _check_size(path: Path) -> int:
    if not path.is_file():
        raise FormatError("the checkpoint does not exist or is no file", code="missing_file", file=path)
    size = path.stat().st_size
    if size == 0:
        raise FormatError("the file is empty", code="empty_file", file=path, remedy=DAMAGED)
    if size > LARGEST_FILE_BYTES:
        raise ModelError(f"{size / 2**30:.0f} GB is no checkpoint's size", code="too_large", file=path)
    return size


def _run_child(path: Path, folder: Path, size: int) -> dict[str, Any]:
    """What the child answered, or the error that it met."""
    limits = Limits(SECONDS + size / BYTES_PER_SECOND, MEMORY_PER_FILE_BYTE * size + EXTRA_MEMORY_BYTES, 0)
    request = {"path": str(path.resolve()), "folder": str(folder)}
    try:
        answer, _ = ask_child(Path(__file__).resolve(), request, limits, keep=False)
    except ChildError as error:
        codes = {"died": "unreadable", "timeout": "timeout", "memory": "too_large"}
        reason = f"the checkpoint cannot be read; of its reader: {error.reason}"
        raise ModelError(reason, code=codes[error.code], file=path, remedy=DAMAGED) from None
    if "reason" in answer:
        kind = FormatError if answer["code"] in ("truncated", "not_a_checkpoint") else ModelError
        raise kind(answer["reason"], code=answer["code"], file=path, remedy=answer["remedy"])
    return answer


# From here on: the child.


def answer_request(request: dict[str, Any]) -> Answer:
    """Read the checkpoint that a request names into the folder that it names.

    Args:
        request: ``path`` and ``folder``.
    Returns:
        what ``read_checkpoint`` gives, or reason, code and remedy of the error that it met; no raw bytes.
    """
    path = Path(request["path"])
    size = path.stat().st_size
    lower_limit("RLIMIT_CPU", int(SECONDS + size / BYTES_PER_SECOND))
    lower_limit("RLIMIT_FSIZE", size + EXTRA_OUTPUT_BYTES)
    try:
        return read_checkpoint(path, Path(request["folder"])), b""
    except ModelError as error:
        return {"reason": error.reason, "code": error.code, "remedy": error.remedy}, b""


def read_checkpoint(path: Path, folder: Path) -> dict[str, Any]:
    """What the child does: write the weights into a folder.

    Args:
        path: the checkpoint.
        folder: gets ``weights.safetensors``, each tensor once.
    Returns:
        configuration, trainer, mirror_axes, and aliases: further names of a tensor to its first one.
    Raises:
        ModelError: whatever is wrong with the file, in one line.
    """
    size = path.stat().st_size
    try:
        _check_archive(path, size)
        content = _load(path)
        values = _pick_values(content)
        weights, values["aliases"] = _pick_weights(content["network_weights"], size)
        save_file(weights, folder / WEIGHTS)
    except MemoryError:
        raise _refuse_memory(size) from None
    except ModelError:
        raise
    except Exception as error:  # a damaged file fails in whatever way, and its reason goes to the user
        reason = " ".join(str(error).split())
        if "llocate memory" in reason:
            raise _refuse_memory(size) from None
        raise ModelError(
            f"it cannot be read: {reason[:200] or type(error).__name__}", code="unreadable", remedy=DAMAGED
        ) from None
    return values


def _refuse_memory(size: int) -> ModelError:
    return ModelError(f"it asks for far more memory than its {size / 2**20:.1f} MB explain", code="too_large")


def _check_archive(path: Path, size: int) -> None:
    """Refuse what is no archive as PyTorch writes it: whole, uncompressed, each entry with its checksum."""
    with path.open("rb") as stream:
        first = stream.read(4)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        if first == b"PK\x03\x04":
            raise ModelError("the file is truncated", code="truncated", remedy=DAMAGED) from None
        raise ModelError(
            "it is no PyTorch checkpoint", code="not_a_checkpoint", remedy="Give the file that nnU-Net wrote"
        ) from None
    with archive:
        entries = archive.infolist()
        names = [entry.filename.rpartition("/")[2] for entry in entries]
        pickles = [entry for entry, name in zip(entries, names, strict=True) if name == "data.pkl"]
        if len(pickles) != 1 or "constants.pkl" in names:
            raise ModelError("it is no PyTorch checkpoint but another archive", code="not_a_checkpoint")
        if pickles[0].file_size > LARGEST_PICKLE_BYTES:
            raise ModelError(f"a pickle of {pickles[0].file_size / 2**20:.0f} MB", code="too_large")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ModelError("its entries are compressed, as PyTorch never writes them", code="not_a_checkpoint")
        if sum(entry.file_size for entry in entries) > size:
            raise ModelError("its entries are larger than the file", code="truncated", remedy=DAMAGED)
        bad = archive.testzip()
        if bad is not None:
            raise ModelError(f"the checksum of {bad} is wrong", code="truncated", remedy=DAMAGED)


def _load(path: Path) -> Any:
    with torch.serialization.safe_globals(list(ALLOWED)):
        forbidden = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        if forbidden:
            raise _refuse_content(", ".join(forbidden[:5]))
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            # PyTorch's message advises to open the file without protection; its last sentences say what was met.
            reason = str(error).rpartition("WeightsUnpickler error:")[2]
            met = re.search(r"but got <class '([\w.]+)'>", reason)
            if met:
                raise _refuse_content(met[1]) from None
            raise ValueError(reason) from None


def _refuse_content(names: str) -> ModelError:
    return ModelError(
        f"it holds {names}, which nnU-Net's checkpoints do not",
        code="forbidden_content",
        remedy="Do not open it with anything else unless you trust whoever made it",
    )


def _pick_values(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("network_weights"), dict):
        raise ModelError("it has no network_weights, as nnU-Net's checkpoints do", code="not_nnunet")
    arguments = content.get("init_args")
    configuration = arguments.get("configuration") if isinstance(arguments, dict) else None
    trainer, axes = content.get("trainer_name"), content.get("inference_allowed_mirroring_axes")
    for name, value in (("init_args.configuration", configuration), ("trainer_name", trainer)):
        if not isinstance(value, str) or not re.fullmatch(r"\w[\w.+-]{0,199}", value):
            raise ModelError(f"its {name} is {str(value)[:50]!r}, expected a name", code="not_nnunet")
    axes = [] if axes is None else axes
    if not isinstance(axes, list | tuple) or any(type(axis) is not int or not 0 <= axis <= 2 for axis in axes):
        reason = f"its inference_allowed_mirroring_axes are {str(axes)[:50]}, expected some of 0, 1, 2"
        raise ModelError(reason, code="not_nnunet")
    return {"configuration": configuration, "trainer": trainer, "mirror_axes": sorted(set(axes))}


def _pick_weights(weights: Mapping[Any, Any], size: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, by its first name, and the first name of every other one."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_names: dict[Any, str] = {}
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            kind = type(tensor).__name__
            raise ModelError(f"network_weights hold {str(name)[:80]!r}, a {kind} and no tensor", code="not_nnunet")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.dtype not in WEIGHT_TYPES:
            reason = f"{name[:80]} is of the type {tensor.dtype}, {tensor.layout}, expected plain floats"
            raise ModelError(reason, code="not_nnunet")
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if identity in first_names and tensor.numel():
            aliases[name] = first_names[identity]
        else:
            first_names[identity] = name
            kept[name] = tensor
    # A view may claim any number of elements of a storage that has one.
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    if claimed > size:
        raise ModelError(f"its tensors claim {claimed} bytes, the file has {size}", code="too_large")
    return {name: tensor.detach().clone().contiguous() for name, tensor in kept.items()}, aliases


if __name__ == "__main__":
    serve(answer_request)
