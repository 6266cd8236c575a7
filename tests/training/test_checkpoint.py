"""Checkpoints: whole, finite, three of them, and nothing that is executed."""

import json
from pathlib import Path

import pytest
import torch

from medseg.core.atomic import fault_hook
from medseg.core.errors import ModelError
from medseg.training import load_checkpoint
from medseg.training.checkpoint import Checkpoint, list_checkpoints, pack_optimiser, save_checkpoint, unpack_optimiser


def save(folder: Path, epoch: int, value: float | None = None) -> None:
    tensors = {"network.weight": torch.full((2, 3), float(epoch) if value is None else value)}
    save_checkpoint(folder, Checkpoint(tensors, {"step": 10 * epoch}), epoch)


def test_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d),
        "count": torch.tensor(7),
        "half": torch.randn(3).half(),
    }
    save_checkpoint(tmp_path, Checkpoint(tensors, {"step": 3, "total": None}), 1)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.facts["step"] == 3
    assert loaded.facts["total"] is None
    assert all(
        torch.equal(tensors[name], tensor) and tensor.dtype == tensors[name].dtype
        for name, tensor in loaded.tensors.items()
    )
    assert loaded.tensors.keys() == tensors.keys()


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "00001").mkdir()
    assert load_checkpoint(tmp_path) is None


def test_only_the_newest_three_stay(tmp_path: Path) -> None:
    for epoch in (1, 2, 9, 10, 100):
        save(tmp_path, epoch)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["00009", "00010", "00100"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00009", "00010", "00100"]


def damage_bytes(path: Path) -> None:
    content = bytearray((path / "state.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "state.safetensors").write_bytes(content)


def cut_short(path: Path) -> None:
    (path / "state.safetensors").write_bytes((path / "state.safetensors").read_bytes()[:20])


def remove_tensors(path: Path) -> None:
    (path / "state.safetensors").unlink()


def break_json(path: Path) -> None:
    (path / "state.json").write_text("{", "utf-8")


def empty_json(path: Path) -> None:
    (path / "state.json").write_text("[]", "utf-8")


def forge_hash(path: Path) -> None:
    # A file that is no safetensors file at all, with the right hash.
    import hashlib

    (path / "state.safetensors").write_bytes(b"no tensors")
    facts = json.loads((path / "state.json").read_text("utf-8"))
    facts["files"]["state.safetensors"] = hashlib.sha256(b"no tensors").hexdigest()
    (path / "state.json").write_text(json.dumps(facts), "utf-8")


@pytest.mark.parametrize("damage", [damage_bytes, cut_short, remove_tensors, break_json, empty_json, forge_hash])
def test_a_damaged_newest_falls_back_with_a_warning(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "00002")
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.facts["step"] == 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "00002 is damaged" in caplog.text
    damage(tmp_path / "00001")
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_written(tmp_path: Path, value: float) -> None:
    save(tmp_path, 1)
    with pytest.raises(ModelError, match=r"network.weight holds numbers that are not finite"):
        save(tmp_path, 2, value)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["00001"]


@pytest.mark.parametrize("broken", range(6))
def test_a_disk_that_fails_at_any_write_leaves_the_one_before(tmp_path: Path, broken: int) -> None:
    save(tmp_path, 1)
    count = 0

    def fail(step: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == broken + 1:
            raise OSError(28, "No space left on device")

    with fault_hook(fail), pytest.raises(OSError, match="No space"):
        save(tmp_path, 2)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.facts["step"] == 10


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_optimisers_go_on_exactly(kind: str) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = torch.nn.Conv3d(2, 3, 3).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        weights = network.parameters()
        if kind == "sgd":
            return network, torch.optim.SGD(weights, 0.1, 0.99, nesterov=True, foreach=True)
        return network, torch.optim.AdamW(weights, 0.1, foreach=True)

    def step(network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        network(torch.ones(1, 2, 4, 4, 4)).square().sum().backward()
        optimiser.step()

    whole, whole_optimiser = make()
    for _ in range(4):
        step(whole, whole_optimiser)
    first, first_optimiser = make()
    for _ in range(2):
        step(first, first_optimiser)
    second, second_optimiser = make()
    second.load_state_dict(first.state_dict())
    unpack_optimiser(second_optimiser, pack_optimiser(first_optimiser))
    for _ in range(2):
        step(second, second_optimiser)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
