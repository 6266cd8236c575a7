"""Prepared cases on disk."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medseg.core.atomic import fault_hook
from medseg.core.errors import FormatError
from medseg.core.plan import NormalisationPlan
from medseg.preprocessing import (
    Prepared,
    find_locations,
    is_current,
    open_prepared,
    prepare_case,
    read_index,
    write_index,
    write_prepared,
)
from tests.preprocessing.examples import CLASSES, REGIONS, make_plan, make_scan

CT = NormalisationPlan(scheme="ct", mean=300.0, sd=150.0, low=20.0, high=700.0)


def make_prepared(spacing_mm: float = 1.0, *, channels: int = 1, mask: bool = True, dimensions: int = 3) -> Prepared:
    volume, segmentation = make_scan(shape=(50, 70, 40), channels=channels)
    plan, configuration = make_plan((spacing_mm,) * 3, (CT,) * channels, dimensions=dimensions)
    return prepare_case(volume, segmentation if mask else None, plan, configuration)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_integers_come_back_bit_for_bit(tmp_path: Path, dimensions: int) -> None:
    prepared = make_prepared(channels=2, dimensions=dimensions)
    paths = write_prepared(tmp_path, "a", prepared, key="k")
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    case = open_prepared(tmp_path, "a")
    image, reference = case.read_all()
    assert case.shape == prepared.image.shape[1:]
    assert case.grid == prepared.grid
    assert image.dtype == np.float32
    assert np.array_equal(image, prepared.image)
    assert np.array_equal(reference, prepared.reference)
    patch, part = case.read_patch((3, 5, 1), (20, 41, 40))
    assert np.array_equal(patch, prepared.image[:, 3:20, 5:41, 1:40])
    assert np.array_equal(part, prepared.reference[3:20, 5:41, 1:40])


@pytest.mark.parametrize(("exact", "tolerance"), [(False, 2e-3), (True, 0.0)])
def test_resampled_images_keep_half_or_full_precision(tmp_path: Path, exact: bool, tolerance: float) -> None:
    prepared = make_prepared(0.8, mask=False)
    write_prepared(tmp_path, "a", prepared, exact_store=exact)
    image, reference = open_prepared(tmp_path, "a").read_all()
    assert reference is None
    assert np.abs(image - prepared.image).max() <= tolerance


def test_values_beyond_half_precision_keep_full(tmp_path: Path) -> None:
    volume, _ = make_scan(kind=np.float32)
    plan, configuration = make_plan((0.8,) * 3, (NormalisationPlan(scheme="none"),))
    volume.array[:] *= 1000.5
    prepared = prepare_case(volume, None, plan, configuration)
    write_prepared(tmp_path, "a", prepared)
    assert np.array_equal(open_prepared(tmp_path, "a").read_all()[0], prepared.image)


def test_threads_read_the_same(tmp_path: Path) -> None:
    prepared = make_prepared()
    write_prepared(tmp_path, "a", prepared)
    case = open_prepared(tmp_path, "a")
    with ThreadPoolExecutor(4) as pool:
        for image, _ in pool.map(lambda n: case.read_patch((n % 5, 0, 0), (n % 5 + 10, 40, 60)), range(40)):
            assert image.shape == (1, 10, 40, 60)
        read = list(pool.map(lambda n: case.read_patch((n, 0, 0), (n + 1, 40, 60))[0], range(30)))
    assert np.array_equal(np.concatenate(read, axis=1), prepared.image[:, :30, :40, :60])


def test_a_patch_beyond_the_array_is_refused(tmp_path: Path) -> None:
    write_prepared(tmp_path, "a", make_prepared())
    case = open_prepared(tmp_path, "a")
    for start, stop in [((-1, 0, 0), (4, 4, 4)), ((0, 0, 0), (400, 4, 4)), ((2, 2, 2), (2, 4, 4))]:
        with pytest.raises(FormatError, match="patch"):
            case.read_patch(start, stop)


def test_locations_are_the_voxels_of_each_name(tmp_path: Path) -> None:
    prepared = make_prepared()
    write_prepared(tmp_path, "a", prepared)
    locations = open_prepared(tmp_path, "a").locations
    assert sorted(locations) == [0, 1]
    for index, value in enumerate((1, 3)):
        where = np.argwhere(prepared.reference == value)
        assert locations[index].dtype == np.int32
        assert len(locations[index]) == min(len(where), 10_000)
        assert np.all(prepared.reference[tuple(locations[index].T)] == value)
        assert len(np.unique(locations[index], axis=0)) == len(locations[index])


def test_locations_are_few_and_the_same_each_time() -> None:
    reference = np.ones((40, 40, 40), np.uint8)
    reference[:, :, 20:] = 2
    first, again, other = (find_locations(reference, REGIONS, name) for name in ("a", "a", "b"))
    assert [len(voxels) for voxels in first] == [10_000, 10_000]
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert (first[0][:, 2] < 20).mean() == pytest.approx(0.5, abs=0.03)
    assert first[1][:, 2].min() == 20
    assert [voxels.shape for voxels in find_locations(np.zeros((2, 2, 2), np.uint8), CLASSES, "a")] == [(0, 3)] * 2


def test_an_empty_mask_is_stored(tmp_path: Path) -> None:
    prepared = make_prepared()
    prepared.reference[:] = 0
    write_prepared(tmp_path, "a", prepared)
    assert [voxels.shape for voxels in open_prepared(tmp_path, "a").locations.values()] == [(0, 3)] * 2


def test_a_case_is_current_only_with_its_key_and_files(tmp_path: Path) -> None:
    assert not is_current(tmp_path, "a", "k")
    write_prepared(tmp_path, "a", make_prepared(), key="k")
    assert is_current(tmp_path, "a", "k")
    assert not is_current(tmp_path, "a", "l")
    (tmp_path / "a.reference.b2nd").unlink()
    assert not is_current(tmp_path, "a", "k")


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_write_that_fails_leaves_no_case_that_looks_whole(tmp_path: Path, step: str, count: int) -> None:
    write_prepared(tmp_path, "a", make_prepared(), key="old")
    seen = []

    def fail(at: str, path: Path) -> None:
        if at == step:
            seen.append(path)
            if len(seen) == count + 1:
                raise OSError("disk full")

    with fault_hook(fail), pytest.raises(OSError, match="disk full"):
        write_prepared(tmp_path, "a", make_prepared(0.8), key="new")
    assert not is_current(tmp_path, "a", "old")
    assert not is_current(tmp_path, "a", "new")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_prepared(tmp_path, "a", make_prepared())
    (tmp_path / "a.b2nd").write_bytes(b"not an array" * 40)
    with pytest.raises(FormatError, match=r"a\.b2nd"):
        open_prepared(tmp_path, "a").read_all()
    with pytest.raises(FormatError, match="does not exist"):
        open_prepared(tmp_path, "b")


def test_index(tmp_path: Path) -> None:
    write_index(tmp_path, ["a", "b"])
    assert read_index(tmp_path) == ("a", "b")
    (tmp_path / "index.json").write_text('{"cases": 3}')
    with pytest.raises(FormatError):
        read_index(tmp_path)
