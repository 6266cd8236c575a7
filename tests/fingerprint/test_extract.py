"""The fingerprint against numbers known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError
from medseg.core.fingerprint import Fingerprint
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint import CaseSummary, extract_fingerprint, summarise_case
from medseg.fingerprint.summary import SAMPLES_PER_CASE

LABELS = LabelScheme.make({"organ": 1, "tumour": 2, "whole": [1, 2], "ignore": 3})
SPACING_MM = (2.0, 1.0, 4.0)


def make_dataset(labels: LabelScheme | None = LABELS, channels: tuple[str, ...] = ("CT", "PET")) -> Dataset:
    """A data set with these names; its cases come with the summaries."""
    return Dataset(Path("data"), "made_up", "test", (), channels, labels, notes=("a note",))


def make_summary(name: str, *, tumour: int = 3, offset: float = 0.0, labels: LabelScheme = LABELS) -> CaseSummary:
    """A 10 x 12 x 6 scan with a border of zeros, 20 voxels of organ, some of tumour, 5 ignored ones."""
    shape = (10, 12, 6)
    rng = np.random.default_rng(len(name))
    image = np.zeros((2, *shape), np.float32)
    image[0, 2:9, 1:11, 1:5] = rng.normal(50 + offset, 10, (7, 10, 4))
    image[1, 2:10, 1:11, 1:5] = rng.gamma(2.0, 1.0, (8, 10, 4))
    mask = np.zeros(shape, np.uint8)
    inside = np.ravel_multi_index(np.nonzero(np.ones((7, 10, 4))), (7, 10, 4))
    block = np.zeros(280, np.uint8)
    block[inside[:20]], block[inside[20 : 20 + tumour]], block[inside[100:105]] = 1, 2, 3
    mask[2:9, 1:11, 1:5] = block.reshape(7, 10, 4)
    grid = Geometry.from_spacing(shape, SPACING_MM)
    case = Case(name, (ImageSource(Path("a")), ImageSource(Path("b"))), None, patient=f"patient {name}", day=3)
    return summarise_case(case, Volume(image, grid, ("CT", "PET")), Segmentation(mask, grid), labels)


def test_a_summary_has_the_case_s_grid_extent_and_volumes() -> None:
    """Volumes are voxel counts times voxel volume; regions are unions; ignored voxels count nowhere."""
    summary = make_summary("a").fingerprint
    assert (summary.case, summary.patient, summary.day) == ("a", "patient a", 3)
    assert summary.shape == (10, 12, 6)
    assert summary.spacing_mm == SPACING_MM
    assert summary.cropped_shape == (8, 10, 4)
    assert summary.label_ml == pytest.approx({"organ": 20 * 0.008, "tumour": 3 * 0.008, "whole": 23 * 0.008})


def test_samples_are_the_foreground_each_voxel_as_often() -> None:
    """23 foreground voxels fill 10000 samples evenly; the same case gives the same samples."""
    samples = make_summary("a").intensities
    assert samples.shape == (2, SAMPLES_PER_CASE)
    values, counts = np.unique(samples[0], return_counts=True)
    assert len(values) == 23
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(samples, make_summary("a").intensities)


def test_large_foregrounds_are_thinned_evenly() -> None:
    """10000 of 64000 voxels, whose statistics stay those of all."""
    image = np.random.default_rng(1).normal(40, 20, (1, 40, 40, 40)).astype(np.float32)
    grid = Geometry.from_spacing((40, 40, 40), (1.0, 1.0, 1.0))
    labels = LabelScheme.make({"organ": 1})
    mask = Segmentation(np.ones((40, 40, 40), np.uint8), grid)
    samples = summarise_case(Case("a", ()), Volume(image, grid, ("CT",)), mask, labels).intensities
    assert samples.shape == (1, SAMPLES_PER_CASE)
    assert len(np.unique(samples)) > 0.99 * SAMPLES_PER_CASE
    assert samples.mean() == pytest.approx(40, abs=0.8)
    assert samples.std() == pytest.approx(20, abs=0.8)


def test_a_healthy_case_has_no_samples_and_no_volume() -> None:
    """Nothing but background."""
    grid = Geometry.from_spacing((4, 4, 4), (1.0, 1.0, 1.0))
    image = Volume(np.ones((1, 4, 4, 4), np.int16), grid, ("CT",))
    mask = Segmentation(np.zeros((4, 4, 4), np.uint8), grid)
    summary = summarise_case(Case("a", ()), image, mask, LabelScheme.make({"organ": 1}))
    assert summary.intensities.shape == (1, 0)
    assert summary.fingerprint.label_ml == {"organ": 0.0}


def test_the_fingerprint_pools_all_cases_alike(tmp_path: Path) -> None:
    """numpy's statistics of all samples together, whatever the order of the cases; JSON and back."""
    summaries = [make_summary("b", offset=100.0, tumour=60), make_summary("a"), make_summary("ccc", tumour=0)]
    fingerprint = extract_fingerprint(make_dataset(), summaries)
    assert fingerprint == extract_fingerprint(make_dataset(), summaries[::-1])
    assert [case.case for case in fingerprint.cases] == ["a", "b", "ccc"]
    pooled = np.concatenate([summary.intensities for summary in summaries], axis=1).astype(np.float64)
    for statistics, values in zip(fingerprint.intensities, pooled, strict=True):
        assert statistics.mean == pytest.approx(values.mean())
        assert statistics.sd == pytest.approx(values.std())
        assert statistics.minimum == values.min()
        assert statistics.maximum == values.max()
        assert statistics.percentile_00_5 == pytest.approx(np.quantile(values, 0.005), rel=1e-5)
        assert statistics.percentile_99_5 == pytest.approx(np.quantile(values, 0.995), rel=1e-5)
        assert statistics.median == pytest.approx(np.median(values), rel=1e-5)
    assert fingerprint.cropped_share == pytest.approx(8 * 10 * 4 / (10 * 12 * 6))
    assert fingerprint.notes == ("a note",)
    fingerprint.write(tmp_path / "fingerprint.json")
    assert Fingerprint.read(tmp_path / "fingerprint.json") == fingerprint


def test_a_data_set_that_says_nothing_is_refused() -> None:
    """No case, no names, other channels, or no foreground in any case."""
    summary = make_summary("a")
    empty = CaseSummary(summary.fingerprint, summary.intensities[:, :0])
    for dataset, summaries, code in (
        (make_dataset(), [], "no_cases"),
        (make_dataset(labels=None), [summary], "no_names"),
        (make_dataset(channels=()), [summary], "no_names"),
        (make_dataset(channels=("CT",)), [summary], "channel_count"),
        (make_dataset(), [empty], "no_foreground"),
    ):
        with pytest.raises(DatasetError) as caught:
            extract_fingerprint(dataset, summaries)
        assert caught.value.code == code
