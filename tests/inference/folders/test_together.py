"""Small scans in one batch give the masks that they give alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.inference import Predictor, PreparedScan
from medseg.inference.folders import together
from medseg.inference.folders.together import agree_together, count_together, fits_one_window, predict_together
from tests.inference.engines.examples import with_threads
from tests.inference.examples import write_model

PATCHES = {2: (1, 16, 16), 3: (8, 16, 16)}


def load(folder: Path, dimensions: int, **options: Any) -> Predictor:
    write_model(folder, dimensions=dimensions, patch_size=PATCHES[dimensions])
    return Predictor.load(folder, device="cpu", **options)


def make_small(predictor: Predictor, count: int, dimensions: int) -> list[PreparedScan]:
    """Scans of different sizes, none larger than the window."""
    scans = []
    for seed in range(count):
        generator = np.random.default_rng(seed)
        shape = (9 + seed % 5, 16 - seed % 4, 1 if dimensions == 2 else 3 + seed % 6)
        array = generator.normal(100, 30, (1, *shape)).astype(np.float32)
        scans.append(predictor.prepare(Volume(array, Geometry.from_spacing(shape, (1.0, 1.0, 1.0)), ("c0",))))
    return scans


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("precision", ["exact", "bf16"])
def test_together_is_as_alone(tmp_path: Path, dimensions: int, precision: str) -> None:
    predictor = load(tmp_path, dimensions, precision=precision)
    scans = make_small(predictor, 5, dimensions)
    assert all(fits_one_window(scan, predictor.members) for scan in scans)
    alone = [predictor.segment(scan, with_probabilities=True) for scan in scans]
    batched = predict_together(predictor, scans, with_probabilities=True)
    for one, other, scan in zip(alone, batched, scans, strict=True):
        assert other.provenance == one.provenance
        assert other.segmentation.geometry.same_grid(scan.geometry)
        np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-3 if precision == "exact" else 0.05)
        if precision == "exact" and agree_together(predictor, scans):
            assert np.array_equal(other.probabilities, one.probabilities)
            assert np.array_equal(other.segmentation.array, one.segmentation.array)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("precision", ["exact", "bf16"])
def test_on_a_processor_each_small_scan_has_a_thread(tmp_path: Path, dimensions: int, precision: str) -> None:
    with with_threads(2):
        predictor = load(tmp_path, dimensions, precision=precision)
        assert count_together(predictor) == 2
        scans = make_small(predictor, 5, dimensions)
        alone = [predictor.segment(scan, with_probabilities=True) for scan in scans]
        beside = predict_together(predictor, scans)
        probable = predict_together(predictor, scans, with_probabilities=True)
        assert agree_together(predictor, scans)
        both = Predictor.load([tmp_path, tmp_path], device="cpu")
        assert count_together(both) == 1  # means of probabilities have other last digits in one thread
    for one, other, sure in zip(alone, beside, probable, strict=True):
        assert other.provenance == one.provenance
        assert np.array_equal(other.segmentation.array, one.segmentation.array)
        assert np.array_equal(sure.probabilities, one.probabilities)


def test_networks_that_mix_windows_do_not_agree(tmp_path: Path) -> None:
    predictor = load(tmp_path, 3, mirroring=False)
    scans = make_small(predictor, 3, 3)
    whole = predictor.members[0].forwards[0]

    def mix(windows: torch.Tensor) -> torch.Tensor:
        return whole(windows) + windows.mean()

    odd = replace(predictor, members=(replace(predictor.members[0], forwards=(mix,)),))
    assert not agree_together(odd, scans)
    assert agree_together(odd, scans[:1])


def test_a_scan_of_several_windows_is_not_small(tmp_path: Path) -> None:
    predictor = load(tmp_path, 3)
    shape = (16, 16, 9)  # k is the first axis of the network: one voxel more than its window
    scan = predictor.prepare(Volume(np.ones((1, *shape)), Geometry.from_spacing(shape, (1.0, 1.0, 1.0)), ("c0",)))
    assert not fits_one_window(scan, predictor.members)


def test_how_many_make_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_threads(1):
        assert count_together(load(tmp_path / "cpu", 2)) == 1  # one thread gains nothing by it
    monkeypatch.setattr(together, "BATCHING_DEVICES", ("cpu",))
    small = load(tmp_path / "small", 2)
    assert count_together(small) == 2**19 // 256 // 4  # two axes are mirrored
    assert count_together(Predictor.load(tmp_path / "small", device="cpu", mirroring=False)) == 2**19 // 256
    write_model(tmp_path / "large", patch_size=(64, 96, 96))
    assert count_together(Predictor.load(tmp_path / "large", device="cpu")) == 1
    both = Predictor.load([tmp_path / "small", tmp_path / "large"], device="cpu")
    assert count_together(both) == 1
