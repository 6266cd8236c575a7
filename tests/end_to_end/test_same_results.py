"""The same result every time: masks, probabilities and tables byte by byte, whatever order, threads or stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medseg import pipeline
from medseg.core.manifest import hash_file
from medseg.inference import Predictor
from medseg.inference.engines import threads as engine_threads
from medseg.inference.folders import predict_cases
from medseg.io import find_inputs, write_volume
from tests.end_to_end.scans import write_data_set
from tests.inference.examples import write_model
from tests.preprocessing.examples import make_scan
from tests.training.examples import NETWORK_2D

THREADS = (1, 2, 8)
KINDS = {
    "3d": {"patch_size": (16, 16, 16)},
    "2d": {"network": NETWORK_2D, "patch_size": (1, 16, 16)},
    "small_scans": {"patch_size": (32, 32, 32)},
}


@pytest.fixture(params=KINDS, scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, folds=(0,), **KINDS[request.param])
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for seed, shape in enumerate([(20, 24, 14), (30, 22, 27)]):
        write_volume(folder / f"scan_{seed}.nii.gz", make_scan(seed=seed, shape=shape)[0])
    return folder


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def predict(model: Path, scans: Path, output: Path, *, threads: int = 1, reverse: bool = False) -> dict[str, str]:
    torch.set_num_threads(threads)
    predictor = Predictor.load(model, device="cpu")
    found = find_inputs(scans, 1)
    found = replace(found, cases=found.cases[::-1]) if reverse else found
    for part in ((2, 2), (1, 2)) if reverse else (None,):
        predict_cases(predictor, found, output, save_probabilities=True, part=part)
    return hash_all(output)


def hash_all(folder: Path) -> dict[str, str]:
    """Everything but ``run.json``, which tells times."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


@pytest.mark.parametrize("apart", [True, False])
def test_masks(model: Path, scans: Path, tmp_path: Path, apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not apart:  # as with windows so large that all threads work on one
        monkeypatch.setattr(engine_threads, "APART_VOXELS", 0)
    first = predict(model, scans, tmp_path / "first")
    assert len(first) == 2 * (1 + 3)  # a mask, and a file per channel
    for threads in THREADS:
        assert predict(model, scans, tmp_path / f"{threads}", threads=threads) == first, f"{threads} threads"
    parts = predict(model, scans, tmp_path / "parts", threads=2, reverse=True)
    assert {name: digest for name, digest in parts.items() if not name.startswith("run-")} == first
    (tmp_path / "first" / "scan_1.nii.gz").unlink()
    (tmp_path / "first" / "probabilities" / "scan_0" / "organ.nii.gz").write_bytes(b"")
    assert predict(model, scans, tmp_path / "first", threads=2) == first


@pytest.mark.slow
def test_tables(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "data")
    cores = os.sched_getaffinity(0)
    found = []
    for number, used in enumerate((cores, {min(cores)}, cores)):
        os.sched_setaffinity(0, used)
        try:
            folder = tmp_path / f"{number}"
            pipeline.evaluate(data / "labelsTs", data / "labelsTs", folder / "scores")
            pipeline.measure(data / "labelsTr", folder / "volumes", images=data / "imagesTr")
        finally:
            os.sched_setaffinity(0, cores)
        found.append(hash_all(folder))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) >= 5
