"""Networks computed by OpenVINO: converted once per model, kept by hash in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.compute.user_cache import find_cache
from medseg.core import atomic
from medseg.core.errors import FormatError, MissingExtraError, ModelError
from medseg.core.manifest import hash_file
from medseg.core.plan import Configuration
from medseg.core.records import read_json, write_json
from medseg.inference.engines.choosing import OPENVINO_REMEDY, Precision
from medseg.inference.engines.onnx_file import window_shape, write_onnx
from medseg.inference.sliding_window import Forward

logger = logging.getLogger(__name__)

# Part of the key of the cache: to be raised when converted networks change.
CONVERSION = "medseg-openvino-2"
# Whose layers are told apart by their names, settings and weights.
PACKAGES = ("medseg", "monai", "torch")


def write_openvino(network: nn.Module, configuration: Configuration, channels: int, path: str | Path) -> None:
    """Write a network as OpenVINO's intermediate representation, weights in float32.

    Args:
        network: gives a list with the finest logits in evaluation mode; on the CPU.
        configuration: whose patch is the window; the files take one window at a time.
        channels: the network's.
        path: ``NAME.xml``; the weights are written beside it as ``NAME.bin``.
    Raises:
        MissingExtraError: the packages of the extra ``openvino`` are not installed.
        ModelError: the network has a layer that cannot be converted.
    """
    openvino = _need_openvino()
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path = Path(folder) / "network.onnx"
        write_onnx(network, configuration, channels, onnx_path)
        # Reading the file directly, not by convert_model: that one reports each use to a server.
        try:
            model = openvino.Core().read_model(onnx_path)
            model.reshape(list(window_shape(configuration, channels)))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(f"OpenVINO cannot convert the network: {reason}", remedy="Use --engine torch") from None
        xml, weights = Path(folder) / "network.xml", Path(folder) / "network.bin"
        openvino.serialize(model, xml, weights)
        del model
        for source, target in ((weights, path.with_suffix(".bin")), (xml, path)):
            with atomic.atomic_open(target) as stream, source.open("rb") as content:
                while chunk := content.read(2**24):
                    stream.write(chunk)


def open_openvino(path: str | Path, configuration: Configuration, precision: Precision = "exact") -> Forward:
    """A converted network as a function of windows on the CPU.

    Args:
        path: ``NAME.xml`` that ``write_openvino`` wrote, ``NAME.bin`` beside it.
        configuration: its network's.
        precision: ``exact`` computes in float32 (not with PyTorch's bits), ``bf16`` in bfloat16.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    Raises:
        MissingExtraError: OpenVINO is not installed.
        ModelError: the files cannot be read.
    """
    openvino = _need_openvino()
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        # Threads that are bound to cores fight with those that prepare and write neighbouring cases.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot read the network: {error}", file=path) from None
    flat = configuration.dimensions == 2

    def forward(windows: Tensor) -> Tensor:
        x = windows.squeeze(2) if flat else windows
        array = np.ascontiguousarray(x.float().cpu().numpy())
        answers = [torch.from_numpy(request.infer([window[None]])[0].copy()) for window in array]
        logits = torch.cat(answers)
        return logits.unsqueeze(2) if flat else logits

    return forward


def make_openvino_forward(
    network: nn.Module, configuration: Configuration, channels: int, precision: Precision, cache: Path | None = None
) -> Forward:
    """A network computed by OpenVINO, converted unless the cache has it already.

    Args:
        network: gives a list with the finest logits in evaluation mode; on the CPU.
        configuration, channels: the network's.
        precision: ``exact`` computes in float32, ``bf16`` in bfloat16.
        cache: the folder for converted networks; one in the user's cache where None.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    Raises:
        MissingExtraError: the packages of the extra ``openvino`` are not installed.
        ModelError: the network has a layer that cannot be converted.
    """
    _need_openvino()
    if not _is_of_packages(network):
        return _convert_for_now(network, configuration, channels, precision)
    key = hash_network(network, configuration, channels)
    path = (cache or find_cache("openvino")) / f"{key}.xml"
    if not _is_whole(path):
        try:
            _write_to_cache(network, configuration, channels, path)
        except OSError as error:
            logger.info("the cache %s cannot be written (%s)", path.parent, error.strerror)
            return _convert_for_now(network, configuration, channels, precision)
    return open_openvino(path, configuration, precision)


def _is_of_packages(network: nn.Module) -> bool:
    """Whether every layer comes from a package whose version is in the key; a user's own code may change any day."""
    return all(type(module).__module__.partition(".")[0] in PACKAGES for module in network.modules())


def _convert_for_now(network: nn.Module, configuration: Configuration, channels: int, precision: Precision) -> Forward:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        write_openvino(network, configuration, channels, path)
        return open_openvino(path, configuration, precision)


def hash_network(network: nn.Module, configuration: Configuration, channels: int) -> str:
    """The SHA-256 of all that a converted network depends on, the versions of the packages included."""
    digest = hashlib.sha256()
    parts = [CONVERSION, _need_openvino().__version__, str(network), str(channels)]
    parts += [f"{name} {_find_version(name)}" for name in PACKAGES]
    parts += [str(configuration.patch_size), configuration.network.model_dump_json()]
    digest.update("\n".join(parts).encode())
    state: Mapping[str, Tensor] = network.state_dict()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).data)
    return digest.hexdigest()


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _write_to_cache(network: nn.Module, configuration: Configuration, channels: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_openvino(network, configuration, channels, path)
    names = [path.name, path.with_suffix(".bin").name]
    write_json(path.with_suffix(".json"), {name: hash_file(path.parent / name) for name in names})


def _is_whole(path: Path) -> bool:
    """Whether the cache has a network as it was written; a disk's fault must not change a mask."""
    record = path.with_suffix(".json")
    if not record.is_file():
        return False
    try:
        hashes = read_json(record)
        return bool(hashes) and all(hash_file(path.parent / name) == digest for name, digest in hashes.items())
    except (OSError, FormatError, AttributeError):
        return False


def _need_openvino() -> Any:
    try:
        with _without_telemetry():
            import openvino
    except ImportError:
        raise MissingExtraError("the package openvino is not installed", remedy=OPENVINO_REMEDY) from None
    return openvino


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO reports its import to a server where it finds its telemetry package: here it does not find it."""
    present = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["openvino_telemetry"]
        if present is not None:
            sys.modules["openvino_telemetry"] = present
