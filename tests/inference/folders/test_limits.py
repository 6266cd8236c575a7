"""Keeping within memory, and what happens where it runs out all the same."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.core.errors import ResourceError
from medseg.inference import Predictor
from medseg.inference.folders.limits import (
    Limits,
    RunSettings,
    choose_settings,
    first_settings,
    is_out_of_memory,
    next_settings,
    step_down,
    with_settings,
)
from medseg.inference.folders.memory import MemoryEstimate
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@dataclass
class Machine:
    """A GPU with room for some windows beside the sums, or for more without them; and how it says that it is full."""

    windows: int
    sums: int
    computer: int = 10**9
    says: Exception = field(default_factory=lambda: torch.OutOfMemoryError("CUDA out of memory."))
    tried: list[RunSettings] = field(default_factory=list)

    def run(self, settings: RunSettings) -> str:
        self.tried.append(settings)
        if settings.device == CPU:
            room = self.computer
        else:
            room = self.windows - (self.sums if settings.sum_device != CPU else 0)
        if settings.together > room:
            raise self.says
        return "mask"


def test_what_fits_runs_as_it_is() -> None:
    settings = RunSettings(GPU, 32, GPU)
    machine = Machine(windows=64, sums=8)
    assert step_down(machine.run, settings) == ("mask", settings)
    assert machine.tried == [settings]


@pytest.mark.parametrize(
    ("windows", "sums", "expected"),
    [
        (24, 8, RunSettings(GPU, 16, GPU)),  # fewer windows
        (9, 8, RunSettings(GPU, 1, GPU)),
        (8, 8, RunSettings(GPU, 1, CPU)),  # the sums leave
        (0, 0, RunSettings(CPU, 1, CPU)),  # everything leaves
    ],
)
def test_steps_down_until_it_fits(
    windows: int, sums: int, expected: RunSettings, caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine(windows, sums)
    with caplog.at_level(logging.WARNING, "medseg"):
        assert step_down(machine.run, RunSettings(GPU, 32, GPU), "case_7") == ("mask", expected)
    assert len(caplog.messages) == len(machine.tried) - 1  # one line a step
    assert all(line.startswith("case_7: GPU memory is full with ") for line in caplog.messages)
    assert caplog.messages[-1].endswith(f"; now {expected.describe()}")
    assert len(set(machine.tried)) == len(machine.tried)


@pytest.mark.parametrize(
    "says",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("std::bad_alloc"),
        MemoryError("Unable to allocate 6 GiB"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_is_full_everywhere_is_one_error(says: Exception) -> None:
    assert is_out_of_memory(says)
    machine = Machine(0, 0, computer=0, says=says)
    with pytest.raises(ResourceError, match="the memory is full even with 1 window at a time on cpu") as caught:
        step_down(machine.run, RunSettings(GPU, 4, GPU))
    assert caught.value.code == "memory"
    assert caught.value.remedy
    assert machine.tried[-1] == RunSettings(CPU, 1, CPU)


@pytest.mark.parametrize("says", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("a")])
def test_other_errors_are_passed_on(says: Exception) -> None:
    machine = Machine(0, 0, says=says)
    with pytest.raises(type(says)):
        step_down(machine.run, RunSettings(GPU, 4, GPU))
    assert len(machine.tried) == 1


def test_what_failed_is_let_go_before_the_next_try() -> None:
    held: list[int] = []

    class Large:
        def __init__(self) -> None:
            held.append(1)

        def __del__(self) -> None:
            held.pop()

    def run(settings: RunSettings) -> int:
        assert not held
        large = Large()
        if settings.together > 1:
            raise torch.OutOfMemoryError
        return len(held) if large else 0

    assert step_down(run, RunSettings(CPU, 8, CPU)) == (1, RunSettings(CPU, 1, CPU))


def test_every_chain_of_steps_ends_on_the_cpu() -> None:
    for first in (RunSettings(GPU, 7, GPU), RunSettings(CPU, 5, CPU), RunSettings(GPU, 1, CPU)):
        settings, following, count = first, next_settings(first), 0
        while following is not None:
            settings, following, count = following, next_settings(following), count + 1
        assert settings == RunSettings(CPU, 1, CPU)
        assert count < 8


def estimate(settings: RunSettings) -> MemoryEstimate:
    """A GB a window, 4 GB for the sums, 1 GB for the program."""
    sums, windows = int(4e9), int(1e9 * settings.together)
    gpu = {"network": windows} if settings.device != CPU else {}
    cpu = {"program": int(1e9)} | ({} if settings.device != CPU else {"network": windows})
    (gpu if settings.sum_device != CPU else cpu)["sums"] = sums
    return MemoryEstimate(cpu, gpu)


@pytest.mark.parametrize(
    ("ram_gb", "vram_gb", "expected"),
    [
        (None, None, RunSettings(GPU, 16, GPU)),
        (None, 20.0, RunSettings(GPU, 16, GPU)),
        (None, 19.9, RunSettings(GPU, 8, GPU)),
        (1.0, 5.0, RunSettings(GPU, 1, GPU)),
        (None, 4.9, RunSettings(GPU, 4, CPU)),
        (5.0, 1.0, RunSettings(GPU, 1, CPU)),
    ],
)
def test_the_fastest_settings_within_the_limits_are_chosen(
    ram_gb: float | None, vram_gb: float | None, expected: RunSettings
) -> None:
    limits = Limits(ram_gb, vram_gb)
    chosen, needed = choose_settings(estimate, RunSettings(GPU, 16, GPU), limits)
    assert chosen == expected
    assert needed == estimate(expected)
    assert limits.allow(needed)


@pytest.mark.parametrize(
    ("first", "limits", "said", "remedy"),
    [
        (RunSettings(CPU, 4, CPU), Limits(5.9, None), "--max-ram-gb 5.9, but 6.00 GB are", "--max-ram-gb 6 or more"),
        (
            RunSettings(GPU, 4, GPU), Limits(None, 0.5), "--max-vram-gb 0.5, but 1.00 GB are needed",
            "--max-vram-gb 1 or more, or --device cpu",
        ),
        (RunSettings(GPU, 4, GPU), Limits(3.0, 3.0), "--max-ram-gb 3, but 5.00 GB are", "--max-ram-gb 5 or more"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_with_what_it_needs(
    first: RunSettings, limits: Limits, said: str, remedy: str
) -> None:
    with pytest.raises(ResourceError) as caught:
        choose_settings(estimate, first, limits)
    assert said in caught.value.reason
    assert "sums 4.00" in caught.value.reason
    assert caught.value.remedy == f"Use {remedy}"
    assert caught.value.code == "memory"


def test_settings_change_no_mask(tmp_path: Path) -> None:
    write_model(tmp_path, folds=(0, 1))
    predictor = Predictor.load(tmp_path, device="cpu")
    scan = predictor.prepare(make_scan()[0])
    first = first_settings(predictor)
    assert with_settings(predictor, first) is predictor
    expected = predictor.segment(scan).segmentation.array
    for together in (1, 3, 16):
        other = with_settings(predictor, RunSettings(CPU, together, CPU))
        assert first_settings(other).together == together
        assert (other.segment(scan).segmentation.array == expected).mean() > 0.999
        assert np.array_equal(with_settings(other, first).segment(scan).segmentation.array, expected)
