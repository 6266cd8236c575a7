"""ONNX files against the network itself, computed by onnxruntime."""

import sys
from pathlib import Path

import pytest
import torch

from medseg.core.errors import MissingExtraError, ModelError
from medseg.inference.engines import open_onnx, write_onnx
from tests.inference.engines.examples import CHANNELS, KINDS, compute_plainly, make_network, make_windows


def test_without_onnx_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network, configuration = make_network()
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"onnx is not installed.*medseg\[onnx\]"):
        write_onnx(network, configuration, CHANNELS, tmp_path / "model.onnx")
    with pytest.raises(MissingExtraError, match=r"onnxruntime is not installed.*medseg\[onnx\]"):
        open_onnx(tmp_path / "model.onnx", configuration)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dimensions"), KINDS)
def test_onnxruntime_computes_the_network(name: str, dimensions: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (group bench)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (group bench)")
    network, configuration = make_network(name, dimensions)
    write_onnx(network, configuration, CHANNELS, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    forward = open_onnx(tmp_path / "model.onnx", configuration)
    for count in (1, 3):
        windows = make_windows(configuration, count)
        expected = compute_plainly(network, windows, dimensions)
        assert torch.allclose(forward(windows), expected, atol=1e-3, rtol=1e-3)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (group bench)")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot be read"):
        open_onnx(tmp_path / "model.onnx", make_network()[1])
