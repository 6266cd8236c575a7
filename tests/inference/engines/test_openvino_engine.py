"""OpenVINO's engine against the network itself, and its cache."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

if (
    find_spec("openvino") is None or find_spec("onnxscript") is None
):  # not importorskip: importing it reports to a server
    pytest.skip("OpenVINO or onnxscript is not installed (group bench)", allow_module_level=True)

from medseg.core.errors import ModelError
from medseg.inference.engines import choose_engine, compare_engines, make_forward, open_openvino, write_openvino
from medseg.inference.engines.openvino_engine import _is_whole, hash_network
from tests.inference.engines.examples import CHANNELS, KINDS, OUTPUTS, compute_plainly, make_network, make_windows

CPU = torch.device("cpu")
pytestmark = pytest.mark.slow  # converting a network takes seconds


@pytest.mark.parametrize(("name", "dimensions"), KINDS)
def test_openvino_computes_the_network(name: str, dimensions: int, tmp_path: Path) -> None:
    network, configuration = make_network(name, dimensions)
    windows = make_windows(configuration)
    expected = compute_plainly(network, windows, dimensions)
    forward = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=tmp_path)
    logits = forward(windows)
    assert logits.shape == (3, OUTPUTS, *configuration.patch_size)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, expected, atol=1e-3, rtol=1e-3)
    lower = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", precision="bf16", cache=tmp_path)(
        windows
    )
    assert float((lower - expected).abs().mean()) < 0.03 * float(expected.std())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the plain network in three dimensions."""
    folder = tmp_path_factory.mktemp("cache")
    network, configuration = make_network()
    make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=folder)
    return folder


def test_a_network_is_converted_once(converted: Path) -> None:
    network, configuration = make_network()
    files = {path.name: path.stat().st_mtime_ns for path in converted.iterdir()}
    assert {Path(name).suffix for name in files} == {".xml", ".bin", ".json"}
    for precision in ("exact", "bf16"):
        make_forward(
            network, configuration, CHANNELS, CPU, engine="openvino", precision=precision, cache=converted  # type: ignore[arg-type]
        )  # fmt: skip
    assert {path.name: path.stat().st_mtime_ns for path in converted.iterdir()} == files


def test_other_weights_are_another_network() -> None:
    network, configuration = make_network()
    key = hash_network(network, configuration, CHANNELS)
    assert hash_network(network, configuration, CHANNELS) == key
    other = configuration.model_copy(update={"patch_size": (16, 16, 16)})
    assert hash_network(network, other, CHANNELS) != key
    next(network.parameters()).data[0] += 1e-6
    assert hash_network(network, configuration, CHANNELS) != key


def test_a_damaged_cache_is_made_anew(converted: Path, tmp_path: Path) -> None:
    network, configuration = make_network()
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    windows = make_windows(configuration)
    first = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=tmp_path)(windows)
    (damaged,) = tmp_path.glob("*.bin")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0x40
    damaged.write_bytes(content)
    assert not _is_whole(damaged.with_suffix(".xml"))
    again = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=tmp_path)(windows)
    assert torch.equal(first, again)
    assert _is_whole(damaged.with_suffix(".xml"))


@pytest.mark.parametrize("ending", [".bin", ".xml", ".json"])
def test_whatever_is_missing_is_noticed(ending: str, converted: Path, tmp_path: Path) -> None:
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    (path,) = tmp_path.glob("*.xml")
    assert _is_whole(path)
    path.with_suffix(ending).write_bytes(b"")
    assert not _is_whole(path)
    path.with_suffix(ending).unlink()
    assert not _is_whole(path)


def test_a_cache_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    network, configuration = make_network()
    (tmp_path / "file").write_text("not a folder")
    forward = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=tmp_path / "file" / "cache")
    windows = make_windows(configuration)
    assert torch.allclose(forward(windows), compute_plainly(network, windows, 3), atol=1e-3, rtol=1e-3)


def test_nothing_is_reported_to_a_server() -> None:
    code = """
import json, sys
from medseg.inference.engines.openvino_engine import _need_openvino
_need_openvino().Core()
print(json.dumps([name for name in sys.modules if name.startswith("openvino_telemetry")]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_a_user_s_own_layers_are_converted_each_time(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.conv, self.factor = nn.Conv3d(CHANNELS, OUTPUTS, 3, padding=1), factor

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.factor * self.conv(x)]

    configuration = make_network()[1]
    windows = make_windows(configuration)
    first, second = Own(1.0).eval(), Own(2.0).eval()
    second.load_state_dict(first.state_dict())  # the same name, the same weights, other code
    for network in (first, second):
        forward = make_forward(network, configuration, CHANNELS, CPU, engine="openvino", cache=tmp_path)
        assert torch.allclose(forward(windows), compute_plainly(network, windows, 3), atol=1e-3, rtol=1e-3)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [torch.linalg.lstsq(x, x).solution]

    with pytest.raises(ModelError, match=r"cannot be (written|converted)|cannot convert"):
        write_openvino(Odd(), make_network()[1], CHANNELS, tmp_path / "model.xml")
    assert not list(tmp_path.iterdir())


def test_written_files_are_opened_without_the_network(tmp_path: Path) -> None:
    network, configuration = make_network()
    write_openvino(network, configuration, CHANNELS, tmp_path / "model.xml")
    assert {path.name for path in tmp_path.iterdir()} == {"model.xml", "model.bin"}
    parity = compare_engines(
        make_forward(network, configuration, CHANNELS, CPU),
        open_openvino(tmp_path / "model.xml", configuration),
        make_windows(configuration),
    )
    assert parity.same_labels > 0.999
    assert parity.largest_difference < 1e-3 * parity.logit_range
    (tmp_path / "model.bin").unlink()
    with pytest.raises(ModelError, match="cannot read the network"):
        open_openvino(tmp_path / "model.xml", configuration)


def test_auto_takes_openvino_for_bfloat16_alone() -> None:
    assert choose_engine("openvino", CPU, "exact")[0] == "openvino"
    assert choose_engine("auto", CPU, "exact")[0] == "torch"
    engine, reason = choose_engine("auto", CPU, "bf16")  # as the processor is
    assert (
        reason
        == {
            "openvino": "it is the fastest in bfloat16 on this processor",
            "torch": "this processor does not multiply in bfloat16",
        }[engine]
    )
