"""Networks as ONNX files, and ONNX files as functions of windows."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core import atomic
from medseg.core.errors import MissingExtraError, ModelError
from medseg.core.plan import Configuration
from medseg.inference.sliding_window import Forward

INPUT, OUTPUT = "windows", "logits"
REMEDY = 'Install it with: pip install "medseg[onnx]"'


class _Finest(nn.Module):
    """A network's finest logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        logits: Tensor = self.network(windows)[0]
        return logits


def window_shape(configuration: Configuration, channels: int) -> tuple[int, ...]:
    """The shape of one window as the network sees it.

    Args:
        configuration: with the patch.
        channels: the network's.
    Returns:
        (1, channel, a, b, c); in 2D (1, channel, b, c).
    """
    return (1, channels, *configuration.patch_size[3 - configuration.dimensions :])


def write_onnx(network: nn.Module, configuration: Configuration, channels: int, path: str | Path) -> None:
    """Write a network as an ONNX file, whole or not at all.

    Args:
        network: gives a list with the finest logits in evaluation mode; on the CPU.
        configuration: whose patch is the file's window; any number of windows may be given together.
        channels: the network's.
        path: the file. Its input is ``windows`` (n, channel, a, b, c), in 2D (n, channel, b, c); its output ``logits``.
    Raises:
        MissingExtraError: the packages of the extra ``onnx`` are not installed.
        ModelError: the network has a layer that ONNX does not know.
    """
    for package in ("onnx", "onnxscript"):
        _need(package)
    example = torch.zeros(window_shape(configuration, channels)).expand(2, *([-1] * (configuration.dimensions + 1)))
    with _hush(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _Finest(network).eval(), (example,), dynamo=True, verbose=False,
                input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=({0: torch.export.Dim("n")},),
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"the network cannot be written as ONNX: {reason}", file=path) from None
    assert program is not None  # only the older exporter returns nothing
    with atomic.atomic_path(path) as temporary:
        program.save(temporary, external_data=False)


def open_onnx(path: str | Path, configuration: Configuration) -> Forward:
    """An ONNX file as a function of windows, computed by onnxruntime in float32 on the CPU.

    Args:
        path: a file that ``write_onnx`` wrote.
        configuration: its network's.
    Returns:
        a function (window, channel, a, b, c) to logits (window, output, a, b, c), float32.
    Raises:
        MissingExtraError: onnxruntime is not installed.
        ModelError: the file cannot be read.
    """
    runtime = _need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes, which it does not export
        raise ModelError(f"the ONNX file cannot be read: {error}", file=path) from None
    flat = configuration.dimensions == 2

    def forward(windows: Tensor) -> Tensor:
        x = windows.squeeze(2) if flat else windows
        array = np.ascontiguousarray(x.float().cpu().numpy())
        logits = torch.from_numpy(session.run([OUTPUT], {INPUT: array})[0])
        return logits.unsqueeze(2) if flat else logits

    return forward


@contextlib.contextmanager
def _hush() -> Iterator[None]:
    """The exporter prints its progress, warns of its own future and logs which of its friends are not installed."""
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        exporter_log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            exporter_log.setLevel(level)


def _need(package: str) -> Any:
    """An optional package; MissingExtraError where it is absent."""
    try:
        if package == "onnxruntime":
            import onnxruntime

            return onnxruntime
        if package == "onnxscript":
            import onnxscript

            return onnxscript
        import onnx

        return onnx
    except ImportError:
        raise MissingExtraError(f"the package {package} is not installed", remedy=REMEDY) from None
