"""Several processes on a CPU, started by torchrun, do together what one process does alone."""

from typing import Any

import pytest
import torch

from medseg.core.errors import PlanError
from medseg.training.gradient_sum import GradientSum
from medseg.training.parallel import ALONE, Ranks, find_ranks
from medseg.training.shared_norm import share_batch_norms
from tests.training.parallel_process import compute, describe, launch, make_batch, make_layers, read_found


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sums")
    result = launch("add_up", folder)
    assert result.returncode == 0, result.stderr
    return read_found(folder)


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
