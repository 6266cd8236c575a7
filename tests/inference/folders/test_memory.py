"""Memory in closed form against what a process of its own really takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.plan import NetworkPlan
from medseg.core.volume import Volume
from medseg.inference import Predictor, streaming
from medseg.inference.folders.memory import (
    FIRST_READING_BYTES,
    FIRST_RESTORING_BYTES,
    FIRST_WINDOW_BYTES,
    MemoryEstimate,
    ScanSize,
    count_network_bytes,
    count_reading_bytes,
    count_sum_bytes,
    estimate_memory,
    expect_size,
    format_gb,
    measure_size,
    read_used_bytes,
)
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read in Linux's /proc")
def test_what_is_estimated_is_what_is_taken(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.inference.folders.peak_memory", str(tmp_path)]
    # What is freed goes back to the system at once, so that one measurement does not hide in another's.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    assert ended.returncode == 0, ended.stderr
    once = {"segmenting": FIRST_WINDOW_BYTES + FIRST_RESTORING_BYTES, "reading": FIRST_READING_BYTES}
    runs = json.loads(ended.stdout.splitlines()[-1])
    assert runs["warm up"]["segmenting"][0] < once["segmenting"]
    for name, steps in runs.items():
        for step, (taken, estimated) in steps.items():
            assert taken <= estimated, (name, step)
            if taken > 40e6 and name != "warm up":  # smaller ones are lost in what libraries keep
                assert taken <= 1.1 * (estimated - once[step]) <= 1.9 * taken, (name, step, taken, estimated)


def make_network(features: tuple[int, ...], name: str = "plain_unet") -> NetworkPlan:
    count = len(features)
    return NetworkPlan(
        name=name, features=features, strides=((1, 1, 1),) + ((2, 2, 2),) * (count - 1), kernels=((3, 3, 3),) * count,
        convolutions=(2,) * count, decoder_convolutions=(2,) * (count - 1),
    )  # fmt: skip


def test_a_network_takes_most_at_its_finest_stage() -> None:
    # 64 x 64 x 64 windows: 2^18 voxels. The joined map of twice 32 channels and the 32 made of it, both twice, the
    # coarser one of 64 channels in an eighth of the voxels, and the logits.
    voxels = 2**18
    expected = 4 * voxels * (6 * 32 + 64 / 8 + 3)
    assert count_network_bytes(make_network((32, 64)), (64, 64, 64), 1, 3) == expected
    plain = count_network_bytes(make_network((32, 64)), (64, 64, 64), 1, 3)
    lowered = count_network_bytes(make_network((32, 64)), (64, 64, 64), 1, 3, value_bytes=2)
    assert plain / 2 <= lowered < 0.7 * plain
    residual = count_network_bytes(make_network((32, 64), "residual_unet"), (64, 64, 64), 1, 3)
    assert residual >= plain
    assert count_network_bytes(make_network((32, 64)), (1, 64, 64), 1, 3) < plain  # two axes are enough for 2D


def test_sums_do_not_grow_with_the_scan_s_length() -> None:
    row = 2 * (100 * 5 + 1) * 96 * 96
    sizes = [count_sum_bytes((length, 96, 96), (32, 96, 96), 100, 5, 0.5) / row for length in (40, 208, 2000, 20000)]
    assert sizes[0] == 40
    # A window, and what it begins in and ends in: the last one begins with the last window.
    assert max(sizes) <= 32 + 32
    assert sizes[2] == sizes[3]
    assert count_sum_bytes((10, 20, 30), (32, 96, 96), 2, 1, 0.5) == 2 * 3 * 32 * 96 * 96  # padded to the window


def test_sums_are_never_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own tensors, counted while scans of many shapes stream through."""
    write_model(tmp_path, folds=(0, 1, 2))
    predictor = Predictor.load(tmp_path, device="cpu", mirroring=False)
    held: list[int] = []
    whole = streaming._Sums._open

    def watch(self: streaming._Sums, i: int, j: int) -> object:
        answer = whole(self, i, j)
        tensors = [*self.divisors.values(), *(total for totals in self.totals.values() for total in totals)]
        held.append(sum(tensor.nbytes for tensor in tensors))
        return answer

    monkeypatch.setattr(streaming._Sums, "_open", watch)
    for limit in (1, 2**12, 2**22):
        monkeypatch.setattr(streaming, "BLOCK_VALUES", limit)
        monkeypatch.setattr("medseg.inference.folders.memory.BLOCK_VALUES", limit)
        for shape in ((9, 9, 9), (7, 30, 21), (25, 12, 40)):
            held.clear()
            volume = Volume(np.ones((1, *shape), np.int16), Geometry.from_spacing(shape, (1.0, 1.0, 1.0)), ("c0",))
            scan = predictor.prepare(volume)
            predictor.segment(scan)
            prepared = scan.stages[0][-1].grid.resampled_shape
            assert max(held) <= count_sum_bytes(prepared, (8, 8, 8), 3, 3, 0.5)


def test_reading_counts_what_is_held(tmp_path: Path) -> None:
    small, large = (ScanSize((n, n, n), 2, 2, ((n, n, n),)) for n in (50, 100))
    assert count_reading_bytes(large, exact=True) > count_reading_bytes(large, exact=False)
    fixed = FIRST_READING_BYTES
    growth = (count_reading_bytes(large, exact=True) - fixed) / (count_reading_bytes(small, exact=True) - fixed)
    assert growth == pytest.approx(8)


def estimate(predictor: Predictor, size: ScanSize, **options: object) -> MemoryEstimate:
    settings: dict[str, object] = {
        "together": 1, "at_once": 1, "on_gpu": False, "sums_on_gpu": False, "overlap": 0.5, "exact": True,
        "program_bytes": 10**8,
    }  # fmt: skip
    return estimate_memory(predictor.members, size, **{**settings, **options})  # type: ignore[arg-type]


def test_what_lies_on_the_gpu_is_not_counted_twice(tmp_path: Path) -> None:
    write_model(tmp_path)
    predictor = Predictor.load(tmp_path, device="cpu")
    volume = make_scan()[0]
    size = expect_size(volume.geometry, 1, 2, predictor.members)
    cpu = estimate(predictor, size)
    gpu = estimate(predictor, size, on_gpu=True, sums_on_gpu=True)
    mixed = estimate(predictor, size, on_gpu=True)
    assert cpu.vram_bytes == 0
    assert set(cpu.ram) - set(gpu.ram) == {"network", "sums"} == set(gpu.vram) - {"program"}
    assert mixed.ram["sums"] == cpu.ram["sums"] == gpu.vram["sums"]
    assert mixed.vram["network"] == gpu.vram["network"]
    assert estimate(predictor, size, together=8, at_once=8, on_gpu=True).vram["network"] == 8 * gpu.vram["network"]
    kept = estimate(predictor, size, with_probabilities=True)
    assert kept.ram["probabilities"] >= 4 * 3 * volume.array.size
    assert estimate(predictor, size, exact=False).ram_bytes < cpu.ram_bytes
    assert "RAM" in mixed.describe()
    assert "GPU memory" in mixed.describe()
    assert "GPU" not in cpu.describe()


def test_several_models_take_the_sums_of_all_and_one_network_at_a_time(tmp_path: Path) -> None:
    for name in "ab":
        write_model(tmp_path / name, folds=(0,))
    one = Predictor.load(tmp_path / "a", device="cpu")
    both = Predictor.load([tmp_path / "a", tmp_path / "b"], device="cpu")
    geometry = make_scan()[0].geometry
    first, second = (estimate(p, expect_size(geometry, 1, 2, p.members)) for p in (one, both))
    assert second.ram["network"] == first.ram["network"]
    assert second.ram["sums"] > first.ram["sums"]
    assert second.ram["scan"] == 2 * first.ram["scan"]


def test_an_empty_rim_is_not_counted(tmp_path: Path) -> None:
    write_model(tmp_path)
    predictor = Predictor.load(tmp_path, device="cpu")
    array = np.zeros((1, 20, 20, 20), np.int16)
    array[:, 5:9, 5:10, 5:11] = 7
    geometry = Geometry.from_spacing((20, 20, 20), (1.0, 1.0, 1.0))
    size = measure_size(predictor.prepare(Volume(array, geometry, ("c0",))), 1, 2)
    assert size.prepared == ((6, 4, 5),)
    assert size.shape == (20, 20, 20)
    assert size.voxels == 8000


def test_what_the_process_holds_and_how_it_is_said() -> None:
    before = read_used_bytes()
    held = np.ones(2**24)
    assert read_used_bytes() - before + 2**22 >= 2**27
    assert held.sum() == 2**24
    assert [format_gb(value) for value in (1.234e9, 25e9)] == ["1.23 GB", "25.0 GB"]
