"""Model folders: whole, hashed, finite, and inside themselves."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from medseg.core.errors import ModelError
from medseg.core.manifest import hash_file
from medseg.core.model import Member, ModelRecord
from medseg.inference import Predictor, finish_model, load_networks, open_model, weights_path, write_weights
from medseg.networks import build_network
from tests.inference.examples import write_model

WEIGHTS = "weights/3d_fullres/fold_0.safetensors"
CPU = torch.device("cpu")


def change_record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "model.json").read_text("utf-8"))
    change(content)
    del content["sha256"]  # what it says is what is tested; damage is found by the hash, see tests/faults
    (folder / "model.json").write_text(json.dumps(content), "utf-8")


def replace_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Other weights, with a record that vouches for them."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)
    change_record(folder, lambda content: content["files"].update({WEIGHTS: hash_file(folder / WEIGHTS)}))


def test_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan, configuration = write_model(tmp_path, folds=(0, "all"))
    model = open_model(tmp_path)
    assert model.plan == plan
    assert model.record.members == (Member(configuration="3d_fullres", folds=(0, "all")),)
    assert model.digest == hash_file(tmp_path / "model.json")
    assert {name: hash_file(tmp_path / name) for name in model.record.files} == model.record.files
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"plan.json", "model.json", WEIGHTS, "weights/3d_fullres/fold_all.safetensors"}
    (network,) = load_networks(model, model.record.members[0], (0,), CPU)
    expected = build_network(configuration, 1, 3, seed=0).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in network.state_dict().items())
    assert not network.training


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    write_model(tmp_path / "a")
    write_model(tmp_path / "b")
    assert hash_file(tmp_path / "a" / "model.json") == hash_file(tmp_path / "b" / "model.json")


def test_there_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.json") as caught:
        open_model(tmp_path)
    assert caught.value.code == "no_model"
    assert caught.value.remedy


def test_a_model_is_not_finished_without_its_weights(tmp_path: Path) -> None:
    plan, _ = write_model(tmp_path / "a", folds=(0,))
    record = ModelRecord.read(tmp_path / "a" / "model.json")
    with pytest.raises(ModelError, match="the weights are missing"):
        finish_model(tmp_path / "b", plan, record)
    assert not (tmp_path / "b" / "model.json").exists()


@pytest.mark.parametrize("name", ["plan.json", WEIGHTS])
def test_a_changed_file_is_refused(tmp_path: Path, name: str) -> None:
    write_model(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="does not match its hash") as caught:
        open_model(tmp_path)
    assert caught.value.file == str(tmp_path / name)


@pytest.mark.parametrize("name", ["plan.json", WEIGHTS])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    write_model(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match="the file is missing"):
        open_model(tmp_path)


@pytest.mark.parametrize("way_out", ["../secret", "weights/../../secret", "/etc/hostname"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, way_out: str) -> None:
    (tmp_path / "secret").write_text("x", "utf-8")
    write_model(tmp_path / "model")
    change_record(tmp_path / "model", lambda content: content["files"].update({way_out: "0" * 64}))
    with pytest.raises(ModelError, match="leaves the model's folder"):
        open_model(tmp_path / "model")


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    (tmp_path / "model" / WEIGHTS).rename(tmp_path / "weights.safetensors")
    (tmp_path / "model" / WEIGHTS).symlink_to(tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="leaves the model's folder"):
        open_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["plan.json", WEIGHTS])
def test_a_file_without_a_hash_is_refused(tmp_path: Path, name: str) -> None:
    write_model(tmp_path)
    change_record(tmp_path, lambda content: content["files"].pop(name))
    with pytest.raises(ModelError, match=f"no hash of {name}"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": []}, "names no network"),
        ({"members": [{"configuration": "3d_fullres", "folds": [], "previous": None}]}, "names no network"),
        ({"members": [{"configuration": "other", "folds": [0], "previous": None}]}, "no configuration 'other'"),
        ({"channels": ["CT", "PET"]}, "not the plan's"),
        ({"mirror_axes": [3]}, "mirror_axes"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_model(tmp_path)
    change_record(tmp_path, lambda content: content.update(change))
    with pytest.raises(ModelError, match=message):
        open_model(tmp_path)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="not JSON"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights["heads.0.bias"].fill_(float("nan")), "heads.0.bias holds numbers that are not finite"),
        (lambda weights: weights["heads.0.bias"].fill_(float("inf")), "heads.0.bias holds numbers that are not finite"),
        (lambda weights: weights.update({"heads.0.bias": torch.zeros(7)}), "do not fit the plan's network"),
        (lambda weights: weights.pop("heads.0.bias"), "do not fit the plan's network"),
        (lambda weights: weights.update({"more": torch.zeros(7)}), "do not fit the plan's network"),
    ],
    ids=["nan", "infinite", "shape", "missing", "surplus"],
)
def test_weights_that_cannot_be_used_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    write_model(tmp_path)
    replace_weights(tmp_path, change)
    with pytest.raises(ModelError, match=message) as caught:
        Predictor.load(tmp_path, device="cpu")
    assert caught.value.file == str(tmp_path / WEIGHTS)
    assert len(str(caught.value)) < 700


def test_a_made_up_plan_takes_no_memory(tmp_path: Path) -> None:
    plan, configuration = write_model(tmp_path)
    network = configuration.network.model_copy(update={"features": (10**6,) * len(configuration.network.features)})
    other = plan.model_copy(
        update={"configurations": {configuration.name: configuration.model_copy(update={"network": network})}}
    )
    finish_model(tmp_path, other, open_model(tmp_path).record)
    with pytest.raises(ModelError, match=r"do not fit the plan's network: .*1000000"):  # 10^14 bytes were they drawn
        Predictor.load(tmp_path, device="cpu")


def test_a_patch_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    plan, configuration = write_model(tmp_path)
    changed = configuration.model_copy(update={"patch_size": (16, 15, 16)})
    other = plan.model_copy(update={"configurations": {configuration.name: changed}})
    finish_model(tmp_path, other, open_model(tmp_path).record)
    with pytest.raises(ModelError, match=r"\[16, 15, 16\] is not divisible"):
        Predictor.load(tmp_path, device="cpu")


def test_halves_in_a_file_compute_in_float32(tmp_path: Path) -> None:
    write_model(tmp_path, folds=(0,))
    replace_weights(tmp_path, lambda weights: weights.update({name: tensor.half() for name, tensor in weights.items()}))
    model = open_model(tmp_path)
    (network,) = load_networks(model, model.record.members[0], (0,), torch.device("cpu"))
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}
    (tmp_path / WEIGHTS).write_bytes(b"")  # the network does not look at the file again
    assert all(torch.isfinite(tensor).all() for tensor in network.parameters())


def test_what_is_no_safetensors_file_is_refused_and_not_executed(tmp_path: Path) -> None:
    write_model(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / WEIGHTS)  # a pickle
    change_record(tmp_path, lambda content: content["files"].update({WEIGHTS: hash_file(tmp_path / WEIGHTS)}))
    with pytest.raises(ModelError, match="the weights cannot be read"):
        Predictor.load(tmp_path, device="cpu")


def test_weights_of_any_memory_format_are_written(tmp_path: Path) -> None:
    weights = {
        "a": torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d),
        "b": torch.ones(3)[::2],
    }
    path = write_weights(tmp_path, "c", "all", weights)
    assert path == weights_path(tmp_path, "c", "all")
    assert all(torch.equal(weights[name], tensor) for name, tensor in load_file(path).items())


def test_a_cascades_first_stage_is_hashed_and_checked(tmp_path: Path) -> None:
    plan, configuration = write_model(tmp_path, folds=(0,))
    low = configuration.model_copy(update={"name": "3d_lowres"})
    plan = plan.model_copy(update={"configurations": {configuration.name: configuration, low.name: low}})
    member = Member(configuration=configuration.name, folds=(0,), previous=low.name, previous_folds=(1,))
    record = open_model(tmp_path).record.model_copy(update={"members": (member,)})
    with pytest.raises(ModelError, match="missing"):
        finish_model(tmp_path, plan, record)
    network = build_network(low, len(plan.channels), plan.labels.channel_count)
    write_weights(tmp_path, low.name, 1, network.state_dict())
    finish_model(tmp_path, plan, record)
    assert "weights/3d_lowres/fold_1.safetensors" in open_model(tmp_path).record.files
    without = member.model_copy(update={"previous_folds": ()})
    finish_model(tmp_path, plan, record.model_copy(update={"members": (without,)}))
    with pytest.raises(ModelError, match="without its folds"):
        open_model(tmp_path)


def test_loading_a_model_loads_no_compiler(tmp_path: Path) -> None:
    write_model(tmp_path)
    code = """
import sys
from medseg.inference import Predictor
Predictor.load(sys.argv[1], device="cpu")
slow = ("torch._dynamo", "torch._inductor", "sympy", "monai", "onnx", "openvino", "pandas", "matplotlib", "SimpleITK")
print([name for name in slow if name in sys.modules])
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
