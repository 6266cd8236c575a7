"""Every problem of a case, each with its file and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.dataset import Case, ImageSource, MaskSource
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint import check_case, find_values

SHAPE = (6, 5, 4)
GRID = Geometry.from_spacing(SHAPE, (1.0, 1.0, 3.0))
LABELS = LabelScheme.make({"organ": 1, "tumour": 2})
CASE = Case(
    "p01", (ImageSource(Path("p01_0000.nii.gz")), ImageSource(Path("p01_0001.nii.gz"))), MaskSource(Path("m.nii"))
)


def make_volume(first: NDArray[np.float32] | None = None) -> Volume:
    """Two channels of a ramp, the first one replaced where given."""
    ramp = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Volume(np.stack([ramp if first is None else first, ramp]), GRID, ("CT", "PET"))


def make_mask(values: tuple[int, ...] = (1, 2), geometry: Geometry = GRID) -> Segmentation:
    """A mask that holds each of the values once."""
    array = np.zeros(geometry.shape, np.uint8)
    array.flat[: len(values)] = values
    return Segmentation(array, geometry)


@pytest.mark.parametrize("values", [(1, 2), (1,), (2,), ()])
def test_a_sound_case_has_no_problem(values: tuple[int, ...]) -> None:
    """With all, some or none of the labels: a healthy patient is a case too."""
    assert check_case(CASE, make_volume(), make_mask(values), LABELS) == []


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (np.nan, "not_finite", "120 of 120 voxels are NaN"),
        (np.inf, "not_finite", "infinite"),
        (0.0, "constant_image", "all voxels are 0"),
        (-1024.0, "constant_image", "the value -1024"),
    ],
)
def test_unusable_intensities(value: float, code: str, text: str) -> None:
    """The channel and its file are named."""
    problems = check_case(CASE, make_volume(np.full(SHAPE, value, np.float32)), make_mask(), LABELS)
    assert [problem.code for problem in problems] == [code]
    assert text in problems[0].reason
    assert "CT" in problems[0].reason
    assert problems[0].file == "p01_0000.nii.gz"
    assert problems[0].remedy


def test_one_bad_voxel_is_enough() -> None:
    """A single NaN."""
    bad = np.ones(SHAPE, np.float32)
    bad[3, 2, 1] = np.nan
    assert "1 of 120" in check_case(CASE, make_volume(bad), None, None)[0].reason


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry.from_spacing((6, 5, 3), (1.0, 1.0, 3.0)),
        Geometry.from_spacing(SHAPE, (1.0, 1.0, 3.1)),
        Geometry(SHAPE, GRID.affine + np.eye(4, k=3) * 0.5),
    ],
)
def test_a_mask_on_another_grid(geometry: Geometry) -> None:
    """Another shape, spacing or origin."""
    problems = check_case(CASE, make_volume(), make_mask(geometry=geometry), LABELS)
    assert [problem.code for problem in problems] == ["grid_mismatch"]
    assert problems[0].file == "m.nii"


def test_unknown_values_are_listed_with_the_known_ones() -> None:
    """Values outside the scheme, also where the scheme has gaps."""
    problem = check_case(CASE, make_volume(), make_mask((1, 5, 9)), LABELS)[0]
    assert problem.code == "unknown_labels"
    assert problem.reason == "the mask holds the values 5, 9; expected 0, 1, 2"
    gaps = LabelScheme.make({"organ": 5, "ignore": 9})
    assert check_case(CASE, make_volume(), make_mask((5, 9)), gaps) == []
    assert "1;" in check_case(CASE, make_volume(), make_mask((1, 5)), gaps)[0].reason


def test_all_problems_are_told_at_once() -> None:
    """Two channels, the grid and the values."""
    volume = Volume(np.zeros((2, *SHAPE), np.float32), GRID, ("CT", "PET"))
    mask = make_mask((7,), Geometry.from_spacing(SHAPE, (2.0, 1.0, 3.0)))
    codes = [problem.code for problem in check_case(CASE, volume, mask, LABELS)]
    assert codes == ["constant_image", "constant_image", "grid_mismatch", "unknown_labels"]


@given(st.sets(st.integers(0, 65535), min_size=1, max_size=20), st.sampled_from([np.uint8, np.uint16, np.uint32]))
def test_values_are_found(values: set[int], kind: type[np.uint8] | type[np.uint16] | type[np.uint32]) -> None:
    """As numpy's unique finds them, in any memory order."""
    array = np.asfortranarray(np.resize(np.array(sorted(values)).astype(kind), (5, 4, 3)))
    assert find_values(array) == tuple(np.unique(array).tolist())
