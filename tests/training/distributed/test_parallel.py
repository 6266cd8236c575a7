"""Several processes on a CPU, started by torchrun, do together what one process does alone."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.training import EpochRecord, load_checkpoint
from medseg.training.distributed.gradient_sum import GradientSum
from medseg.training.distributed.parallel import ALONE, Ranks, find_ranks
from medseg.training.distributed.shared_norm import share_batch_norms
from medseg.training.monitor import read_record
from tests.training.distributed.parallel_process import (
    KINDS,
    LONG,
    compute,
    describe,
    finish,
    launch,
    make_batch,
    make_configuration_of,
    make_layers,
    read_found,
    train_kind,
)
from tests.training.examples import make_plan, prepare_cases


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases of every kind of training, and a run that one process left after two epochs."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind in KINDS:
        configuration = make_configuration_of(kind)
        prepare_cases(folder / kind / "prepared", make_plan(configuration), configuration)
    train_kind("per sample", folder, "stopped", epochs=2)
    return folder


@pytest.fixture(scope="module")
def ended(prepared: Path) -> tuple[int, str]:
    """How two processes ended that added up, trained each kind, and of which one then failed."""
    return finish(launch(prepared, "add_up", "train_kinds", "fail_alone"))


@pytest.fixture(scope="module")
def trained(prepared: Path, ended: tuple[int, str]) -> Path:
    """The cases after two processes have trained each kind."""
    assert (prepared / "train_kinds.0.json").is_file(), ended[1]
    return prepared


@pytest.fixture(scope="module")
def sums(prepared: Path, ended: tuple[int, str]) -> list[dict[str, Any]]:
    """What each of the two processes found while they added up."""
    assert (prepared / "add_up.0.json").is_file(), ended[1]
    return read_found(prepared, "add_up")


def test_processes_know_and_tell_each_other(sums: list[dict[str, Any]]) -> None:
    for rank, found in enumerate(sums):
        assert (found["rank"], found["count"], found["device"], found["same"]) == (rank, 2, "cpu", True)
        assert found["sum"] == [3.0, 4.0]
        assert found["untouched"] == [1.0 + rank, 2.0]
        assert found["largest"] == [1, 0, 7]
        assert found["gathered"] == [{"rank": 0, "text": "ä"}, {"rank": 1, "text": "ä" * 10}]
        assert found["before"] == [f"was_here_{n}" for n in range(rank)]
        assert found["share"] == [["a", "c", "e"], ["b", "d"]][rank]


@pytest.mark.parametrize("norm", [False, True])
def test_gradients_of_shares_are_those_of_the_whole_batch(sums: list[dict[str, Any]], norm: bool) -> None:
    layers = make_layers(norm)
    total = torch.zeros(())
    for number in range(2):
        loss = compute(layers, make_batch() + number, lambda values: values) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    whole = describe(layers, total)
    layers.eval()
    output = float(compute(layers, make_batch(), lambda values: values).detach())
    for found in sums:
        part = found[f"norm {norm}"]
        assert part["gradients"].keys() == whole["gradients"].keys()  # none for the layer that has no part
        for kind in ("gradients", "buffers"):
            for name, values in whole[kind].items():
                torch.testing.assert_close(torch.tensor(part[kind][name]), torch.tensor(values), rtol=1e-4, atol=1e-5)
        assert part["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        assert found[f"output {norm}"] == pytest.approx(output, rel=1e-4)


def test_alone_nothing_is_added() -> None:
    assert find_ranks() is ALONE
    values = torch.ones(3, requires_grad=True)
    assert ALONE.add_with_gradient(values) is values
    assert ALONE.gather({"a": 1}) == [{"a": 1}]
    assert ALONE.take_largest([3, -1]) == [3, -1]
    assert list(ALONE.take_share([1, 2])) == [1, 2]
    layers = make_layers(True)
    assert share_batch_norms(layers, ALONE) is layers
    with GradientSum(layers, ALONE).adding():
        compute(layers, make_batch(), lambda values: values).backward()  # type: ignore[no-untyped-call]


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    missing = "WORLD_SIZE is 4, but RANK, MASTER_ADDR, MASTER_PORT is not set"
    with pytest.raises(PlanError, match=missing) as caught:
        find_ranks()
    assert "torchrun" in str(caught.value.remedy)


def test_shares_of_a_batch() -> None:
    assert [Ranks(rank, 3).count_share(7) for rank in range(3)] == [3, 2, 2]
    assert ALONE.count_share(7) == 7
    with pytest.raises(PlanError, match="3 processes share a batch of 2"):
        Ranks(0, 3).count_share(2)


def read_log(folder: Path) -> list[EpochRecord]:
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    return [read_record(json.loads(line)) for line in lines]


def same_curve(together: list[EpochRecord], alone: list[EpochRecord], *, tolerance: float = 1e-4) -> None:
    assert len(together) == len(alone)
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.steps, ours.total_steps, ours.learning_rate) == (
            theirs.steps, theirs.total_steps, theirs.learning_rate,
        )  # fmt: skip
        assert ours.loss == pytest.approx(theirs.loss, abs=tolerance)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, abs=tolerance)
        for label, dice in theirs.patch_dice.items():
            assert ours.patch_dice[label] == pytest.approx(dice, abs=1e-2)  # a voxel more or less of a few hundred


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_loss_curve_of_one(trained: Path, kind: str) -> None:
    alone = train_kind(kind, trained, "one")
    same_curve(read_log(trained / kind / "two"), alone.history)
    checkpoint = load_checkpoint(trained / kind / "two" / "checkpoints")
    assert checkpoint is not None
    for name, tensor in alone.weights.items():
        if name.endswith("conv.bias"):
            continue  # the norm after it takes it away again, so that AdamW moves it by rounding errors
        torch.testing.assert_close(checkpoint.tensors[f"average.{name}"], tensor, rtol=1e-3, atol=1e-3)
    assert len(list((trained / kind / "two").glob("events.*"))) == 1  # one process writes


def test_another_number_of_processes_goes_on_with_the_same_batches(trained: Path) -> None:
    train_kind("per sample", trained, "alone", epochs=2)
    alone = train_kind("per sample", trained, "alone", epochs=3)
    same_curve(read_log(trained / "per sample" / "stopped"), alone.history)


def test_the_failure_of_one_process_ends_the_other(ended: tuple[int, str]) -> None:
    code, errors = ended  # far sooner than processes wait for one another
    assert code != 0
    assert "this process alone" in errors
    assert "another process of this training has ended" in errors


def test_processes_that_are_told_to_stop_save_and_go_on_in_one(prepared: Path) -> None:
    run = prepared / "per sample" / "told"
    processes = launch(prepared, "train_long")
    while not ((run / "log.jsonl").is_file() and read_log(run)) and processes.poll() is None:
        time.sleep(0.05)
    processes.terminate()
    code, errors = finish(processes)
    assert code != 0
    checkpoint = load_checkpoint(run / "checkpoints")
    assert checkpoint is not None, errors
    assert 0 < checkpoint.facts["progress"]["step"] < 2 * LONG
    train_kind("per sample", prepared, "told", epochs=LONG)
    same_curve(read_log(run), train_kind("per sample", prepared, "untold", epochs=LONG).history, tolerance=1e-3)
