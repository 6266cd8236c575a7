"""A folder of scans: shares, limits of memory, small scans in batches, and faults in every stage."""

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.core.dataset import Dataset
from medseg.core.errors import DatasetError, PlanError
from medseg.core.geometry import Geometry
from medseg.core.manifest import CaseOutcome
from medseg.core.records import read_json
from medseg.core.volume import Volume
from medseg.inference import Predictor
from medseg.inference.folders import predict_cases, take_part, together
from medseg.inference.folders.memory import expect_size
from medseg.io import find_inputs, read_image, write_volume
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan

NAMES = list("abcdef")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", make_scan(seed=seed)[0])
    return tmp_path / "scans"


def statuses(outcomes: list[CaseOutcome]) -> dict[str, str]:
    return {outcome.case: outcome.status for outcome in outcomes}


def with_network(predictor: Predictor, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Predictor:
    """The model with another network, which sees the windows and what the model's own says."""
    (member,) = predictor.members
    (own,) = member.forwards
    return replace(predictor, members=(replace(member, forwards=(lambda x: change(x, own(x)),)),))


def test_parts_are_every_nth_case_whatever_is_wrong_with_them(scans: Path) -> None:
    found = find_inputs(scans, 1)
    problem = DatasetError("channel 0001 is missing", code="missing_channel", case="bb")
    dataset = Dataset(found.root, found.name, found.layout, found.cases, problems=(problem,))
    shares = [take_part(dataset, (number, 3)) for number in (1, 2, 3)]
    assert [[case.name for case in cases] for cases, _ in shares] == [["a", "c", "f"], ["b", "d"], ["e"]]
    assert [problems for _, problems in shares] == [[], [], [problem]]
    repaired = replace(dataset, problems=(), cases=(*found.cases, replace(found.cases[0], name="bb")))
    assert [case.name for case in take_part(repaired, (3, 3))[0]] == ["bb", "e"]
    assert [case.name for case in take_part(found, None)[0]] == NAMES
    assert take_part(found, (9, 9)) == ([], [])


@pytest.mark.parametrize("part", [(0, 4), (5, 4), (-1, 4), (1, 0)])
def test_a_part_that_is_none_is_refused(
    part: tuple[int, int], predictor: Predictor, scans: Path, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="no part"):
        predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out", part=part)
    assert not (tmp_path / "out").exists()


def test_parts_together_are_the_whole(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    found, output = find_inputs(scans, 1), tmp_path / "out"
    for number in (1, 2, 3, 4):
        outcomes = predict_cases(predictor, found, output, part=(number, 4))
        assert statuses(outcomes) == dict.fromkeys(NAMES[number - 1 :: 4], "done")
    assert {case["case"]: case["status"] for case in read_json(output / "run.json")["cases"]} == dict.fromkeys(
        NAMES, "done"
    )
    assert statuses(predict_cases(predictor, found, output)) == dict.fromkeys(NAMES, "skipped")
    assert sorted(path.name for path in output.glob("run*")) == ["run.json"]


def test_scans_that_were_only_touched_or_moved_are_not_done_again(
    predictor: Predictor, scans: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    predict_cases(predictor, find_inputs(scans, 1), output)
    for path in scans.iterdir():
        os.utime(path, (10, 10))
    moved = Path(scans.rename(tmp_path / "elsewhere"))
    assert set(statuses(predict_cases(predictor, find_inputs(moved, 1), output)).values()) == {"skipped"}


@pytest.mark.parametrize("fault", [ValueError("odd"), SystemExit(1), MemoryError("no room")], ids=repr)
def test_a_fault_while_a_scan_is_prepared_is_that_scan_s_line(
    fault: BaseException,
    predictor: Predictor,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, seen = Predictor.prepare, []

    def fail_at_third(self: Predictor, volume: Volume) -> Any:
        seen.append(threading.current_thread())
        if len(seen) == 3:
            raise fault
        return whole(self, volume)

    monkeypatch.setattr(Predictor, "prepare", fail_at_third)
    outcomes = predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out")
    bad = [outcome for outcome in outcomes if outcome.status != "done"]
    assert [outcome.case for outcome in bad] == ["c"]
    assert str(fault) in bad[0].reason
    assert threading.main_thread() not in seen  # while the network computes
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [bad[0].line()]


def test_a_network_that_fails_on_one_scan_fails_there_alone(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    bright = make_scan(seed=2)[0]
    spot = bright.array * 0 + 7
    spot[0, 5, 5, 5] = 1000  # normalised, it stands out as nothing in the other scans does
    write_volume(scans / "c.nii.gz", Volume(spot, bright.geometry, bright.channels))

    def refuse_spot(windows: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        if float(windows.max()) > 9:
            raise RuntimeError("nothing to see")
        return answer

    outcomes = predict_cases(with_network(predictor, refuse_spot), find_inputs(scans, 1), tmp_path / "out")
    assert statuses(outcomes) == {**dict.fromkeys(NAMES, "done"), "c": "failed"}
    assert outcomes[2].reason == "RuntimeError: nothing to see"


def test_a_network_out_of_range_is_refused_by_name(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    outcomes = predict_cases(
        with_network(predictor, lambda windows, answer: answer * 1e9), find_inputs(scans, 1), tmp_path / "out"
    )
    assert {outcome.status for outcome in outcomes} == {"refused"}
    assert {outcome.code for outcome in outcomes} == {"bad_logits"}


def test_memory_that_runs_out_is_made_do_with_less(
    predictor: Predictor, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []

    def hold_three(windows: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        if len(windows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return answer

    tight = with_network(replace(predictor, window=replace(predictor.window, together=16)), hold_three)
    with caplog.at_level(logging.WARNING, "medseg"):
        outcomes = predict_cases(tight, find_inputs(scans, 1), tmp_path / "out")
    assert set(statuses(outcomes).values()) == {"done"}
    said = [line for line in caplog.messages if "memory is full" in line]
    assert [line.partition(":")[0] for line in said] == ["a", "a", "a"]  # what was learnt holds for the others
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[3:]) == 2
    for name in NAMES[:2]:
        mask = read_image(tmp_path / "out" / f"{name}.nii.gz").array[0]
        alone = predictor.predict(scans / f"{name}.nii.gz").segmentation.array
        assert (mask == alone).mean() > 0.999


def test_a_limit_of_memory_is_told_and_kept(
    predictor: Predictor, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "medseg"):
        outcomes = predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out", max_ram_gb=1000)
    assert set(statuses(outcomes).values()) == {"done"}
    told = [line for line in caplog.messages if "needs about RAM" in line]
    assert [line.partition(":")[0] for line in told] == NAMES
    assert all("program" in line and "sums" in line and "network" in line for line in told)


def test_what_a_limit_of_memory_forbids_is_refused_with_what_it_needs(
    predictor: Predictor, scans: Path, tmp_path: Path
) -> None:
    outcomes = predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out", max_ram_gb=0.01)
    assert {outcome.status for outcome in outcomes} == {"refused"}
    assert {outcome.code for outcome in outcomes} == {"memory"}
    reason = outcomes[0].reason
    assert re.match(r"--max-ram-gb 0.01, but [\d.]+ GB are needed to read and prepare it \(program .*reading", reason)
    assert re.search(r"at most [\d.]+ GB to segment it with 1 window at a time on cpu \(program .*mask .*sums", reason)
    needed = max(float(number) for number in re.findall(r"([\d.]+) GB", reason))
    asked = float(outcomes[0].remedy.split()[2])
    assert needed <= asked < needed + 0.12
    again = predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out", max_ram_gb=asked + 0.3)
    assert {outcome.status for outcome in again} == {
        "done"
    }  # what the message says is enough, besides what now is held


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float, predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="limit"):
        predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out", max_ram_gb=limit)


def test_the_expected_size_is_that_of_a_scan_without_empty_rims(predictor: Predictor) -> None:
    geometry = Geometry.from_spacing((20, 24, 14), (0.5, 2.0, 3.0))
    volume = Volume(np.ones((1, 20, 24, 14), np.int16), geometry, ("c0",))
    expected = expect_size(geometry, 1, 2, predictor.members)
    assert expected.prepared == (predictor.prepare(volume).stages[0][-1].grid.resampled_shape,) == ((42, 10, 48),)
    assert expected.voxels == 20 * 24 * 14


@pytest.fixture
def batching(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the CPU gained from batches, as a GPU does."""
    monkeypatch.setattr(together, "BATCHING_DEVICES", ("cpu",))


def write_pictures(folder: Path, count: int) -> None:
    for seed in range(count):
        values = np.random.default_rng(seed).integers(1, 255, (1, 12 + seed % 3, 14, 1)).astype(np.uint8)
        geometry = Geometry.from_spacing(values.shape[1:], (1.0, 1.0, 1.0))
        write_volume(folder / f"picture_{seed:02d}.png", Volume(values, geometry, ("c0",)))


@pytest.mark.usefixtures("batching")
@pytest.mark.parametrize("precision", ["exact", "bf16"])
def test_pictures_go_through_the_network_together(tmp_path: Path, precision: Any) -> None:
    write_model(tmp_path / "model", folds=(0,), dimensions=2, patch_size=(1, 16, 16))
    predictor = Predictor.load(tmp_path / "model", device="cpu", precision=precision, mirroring=False)
    write_pictures(tmp_path / "in", 7)
    (tmp_path / "in" / "picture_03.png").write_bytes(b"no picture")
    sizes: list[int] = []

    def watch(windows: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        return answer

    found = find_inputs(tmp_path / "in", 1)
    outcomes = predict_cases(with_network(predictor, watch), found, tmp_path / "out", spacing_mm=(1.0, 1.0))
    names = [f"picture_{number:02d}" for number in range(7)]
    assert statuses(outcomes) == {**dict.fromkeys(names, "done"), "picture_03": "refused"}
    assert max(sizes) == 3  # the damaged one parts them
    for name in names[:3]:
        mask = read_image(tmp_path / "out" / f"{name}.png", spacing_mm=(1.0, 1.0)).array[0]
        alone = predictor.predict(tmp_path / "in" / f"{name}.png", spacing_mm=(1.0, 1.0)).segmentation.array
        assert np.array_equal(mask, alone) if precision == "exact" else (mask == alone).mean() > 0.9


@pytest.mark.usefixtures("batching")
def test_a_fault_in_a_batch_is_that_scan_s_alone(tmp_path: Path) -> None:
    write_model(tmp_path / "model", folds=(0,), dimensions=2, patch_size=(1, 16, 16))
    predictor = Predictor.load(tmp_path / "model", device="cpu", precision="bf16", mirroring=False)
    write_pictures(tmp_path / "in", 4)
    spot = np.full((1, 12, 14, 1), 9, np.uint8)
    spot[0, 5, 5, 0] = 255  # normalised, it stands out as nothing in the other pictures does
    geometry = Geometry.from_spacing((12, 14, 1), (1.0, 1.0, 1.0))
    write_volume(tmp_path / "in" / "picture_02.png", Volume(spot, geometry, ("c0",)))

    def refuse_spot(windows: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        if float(windows.max()) > 9:
            raise RuntimeError("nothing to see")
        return answer

    found = find_inputs(tmp_path / "in", 1)
    outcomes = predict_cases(with_network(predictor, refuse_spot), found, tmp_path / "out", spacing_mm=(1.0, 1.0))
    assert [outcome.status for outcome in outcomes] == ["done", "done", "failed", "done"]


def test_the_last_line_sums_up(
    predictor: Predictor, scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out"
    predict_cases(predictor, find_inputs(scans, 1), output)
    (scans / "b.nii.gz").write_bytes(b"no scan")
    (output / "d.nii.gz").unlink()
    with caplog.at_level(logging.INFO, "medseg"):
        predict_cases(predictor, find_inputs(scans, 1), output)
    assert caplog.messages[-1].startswith(f"{output}: 1 done, 4 unchanged since an earlier run, 1 refused in ")


def test_the_number_of_threads_is_as_it_was(predictor: Predictor, scans: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        predict_cases(predictor, find_inputs(scans, 1), tmp_path / "out")
        assert torch.get_num_threads() == 3
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert found == [3]
    finally:
        torch.set_num_threads(before)
