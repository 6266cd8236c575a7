"""Orders of sums outlive a process, hold only where they were seen, and are not believed once they are damaged."""

from pathlib import Path

import pytest
import torch

from medseg.inference.engines import known_orders
from medseg.inference.engines.known_orders import Shapes, read_orders, write_orders
from medseg.inference.engines.summed_conv import Order

ORDERS: dict[Shapes, Order | None] = {
    (torch.Size((8, 40, 56, 40)), torch.Size((16, 8, 3, 3, 3)), (2, 2, 2), (1, 1, 1), 2, True): Order(108, False),
    (torch.Size((16, 40, 56, 40)), torch.Size((8, 16, 3, 3, 3)), (1, 1, 1), (1, 1, 1), 2, False): Order(432, True),
    (torch.Size((16, 4, 5, 6)), torch.Size((8, 16, 1, 3, 3)), (1, 1, 1), (0, 1, 1), 1, True): None,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known_orders._describe_conditions.cache_clear()
    return tmp_path / "medseg" / "orders"


def test_what_was_kept_is_found() -> None:
    assert read_orders() == {}
    write_orders(ORDERS)
    assert read_orders() == ORDERS


@pytest.mark.parametrize("variable", ["MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"])
def test_they_hold_under_the_same_conditions_alone(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_orders(ORDERS)
    monkeypatch.setenv(variable, "AVX2")
    known_orders._describe_conditions.cache_clear()
    assert read_orders() == {}
    monkeypatch.delenv(variable)
    known_orders._describe_conditions.cache_clear()
    assert read_orders() == ORDERS


def test_a_damaged_file_is_not_believed(folder: Path) -> None:
    write_orders(ORDERS)
    [file] = folder.iterdir()
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place])
        assert read_orders() == {} or place == len(whole) - 1  # the last line's end
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert read_orders() in ({}, ORDERS)  # a blank may become another one


def test_without_a_folder_to_write_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    write_orders(ORDERS)
    assert read_orders() == {}
