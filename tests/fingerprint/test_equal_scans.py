"""Cases that hold the same scan, the same mask, or a mask of nearly everything; test cases that are trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.equal_scans import (
    Sketch,
    find_equal_masks,
    find_equal_scans,
    join_patients,
    refuse_equal_scans,
    sketch_case,
)
from medseg.fingerprint.filled import find_filled
from medseg.fingerprint.held_out import find_held_out

SHAPE = (50, 44, 30)


def make_case(name: str, patient: str = "") -> Case:
    return Case(name, (ImageSource(Path(f"{name}.nii")),), MaskSource(Path(f"{name}_mask.nii")), patient)


def sketch(array: NDArray[np.float32], mask: NDArray[np.uint8], affine: NDArray[np.float64] | None = None) -> Sketch:
    grid = Geometry(array.shape, np.eye(4) if affine is None else affine)
    return sketch_case(Volume(array[None], grid, ("CT",)), Segmentation(mask, grid))


def make_scan(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:20, 6:18, 3:9] = rng.integers(0, 3, (15, 12, 6))
    return rng.integers(-1000, 1000, SHAPE).astype(np.float32), mask


def test_a_scan_is_the_same_in_any_orientation_and_type() -> None:
    """Axes reversed and reordered with the affine to match, and integers for floats; another scan is another."""
    array, mask = make_scan(1)
    own = sketch(array, mask)
    turned = np.array([[0, 0, -1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    order = (1, 2, 0)
    other = sketch(array.transpose(order)[..., ::-1].astype(np.int16), mask.transpose(order)[..., ::-1], turned)
    assert other == own
    assert sketch(*make_scan(2)).scan != own.scan
    assert sketch(array, make_scan(2)[1]).scan == own.scan
    assert sketch(array, make_scan(2)[1]).mask != own.mask
    assert sketch(array, np.roll(mask, 1, axis=0)).mask != own.mask


def test_masks_of_next_to_nothing_are_not_compared() -> None:
    """A few voxels may well lie alike by chance."""
    array, _ = make_scan(1)
    few = np.zeros(SHAPE, np.uint8)
    few[3, 3, :20] = 1
    assert sketch(array, few).mask == b""
    assert sketch(array, few * 0).mask == b""


def find(cases: list[Case], scans: str, *, really: bool = True) -> list[list[str]]:
    sketches = {case.name: Sketch(scan.encode(), b"") for case, scan in zip(cases, scans, strict=True)}
    return [[case.name for case in group] for group in find_equal_scans(cases, sketches, lambda one, other: really)]


def test_equal_sketches_are_grouped_where_the_scans_are_equal() -> None:
    """The sketch only says which to compare."""
    cases = [make_case(name) for name in "abcde"]
    assert find(cases, "xyxyx") == [["a", "c", "e"], ["b", "d"]]
    assert find(cases, "xyxyx", really=False) == []
    assert find(cases, "12345") == []


def test_which_cases_are_refused() -> None:
    """All but the first patient's; all of them where the masks differ; none of one patient."""
    group = [make_case("a", "P"), make_case("b", "P"), make_case("c", "Q")]
    same = {case.name: Sketch(b"x", b"m") for case in group}
    assert set(refuse_equal_scans([group], same)) == {"c"}
    assert set(refuse_equal_scans([group], same | {"b": Sketch(b"x", b"other")})) == {"a", "b", "c"}
    assert refuse_equal_scans([group[:2]], same) == {}
    problem = refuse_equal_scans([group], same)["c"]
    assert (problem.case, problem.code, problem.file) == ("c", "equal_scans", "c.nii")
    assert "--keep-equal-scans" in (problem.remedy or "")


def test_patients_who_share_a_scan_become_one_with_all_their_cases() -> None:
    """Also over several groups: folds then keep together what belongs together."""
    cases = [make_case("a", "P"), make_case("b", "Q"), make_case("c", "Q"), make_case("d", "R"), make_case("e", "S")]
    joined, notes = join_patients(cases, [(cases[0], cases[1]), (cases[2], cases[3])])
    assert [case.patient for case in joined] == ["P", "P", "P", "P", "S"]
    assert len(notes) == 2


def test_equal_masks_of_different_images_are_doubted() -> None:
    """But not of one patient (phases of one scan), nor empty ones, nor those of equal images."""
    cases = [make_case("a"), make_case("b"), make_case("c", "a"), make_case("d"), make_case("e")]
    sketches = {"a": Sketch(b"1", b"m"), "b": Sketch(b"2", b"m"), "c": Sketch(b"3", b"m"), "d": Sketch(b"4", b"")}
    sketches["e"] = Sketch(b"1", b"m")
    assert [(doubt.case, doubt.file) for doubt in find_equal_masks(cases, sketches)] == [("b", "b_mask.nii")]


def test_a_mask_of_nearly_everything_is_doubted_beside_small_ones() -> None:
    """Not where several masks are like it."""
    cases = [make_case(name) for name in "abcd"]
    assert [doubt.case for doubt in find_filled(cases, {"a": 0.1, "b": 0.95, "c": 0.0, "d": 0.2})] == ["b"]
    assert find_filled(cases, {"a": 0.1, "b": 0.95, "c": 0.9, "d": 0.2}) == []
    assert find_filled(cases, {"a": 0.1, "b": 0.95, "c": 0.5, "d": 0.2}) == []
    assert find_filled(cases[:2], {"a": 0.1, "b": 0.95}) == []


def test_test_cases_that_are_trained_on_are_doubted(tmp_path: Path) -> None:
    """By the bytes of their files, and by their patient."""
    for name in "abtuv":
        (tmp_path / name).write_bytes(name.encode() * 100)
    shutil.copy(tmp_path / "a", tmp_path / "t")

    def case(name: str, patient: str = "") -> Case:
        return Case(name, (ImageSource(tmp_path / name),), None, patient)

    tests = (case("t"), case("u", "Q"), case("v"), case("gone"))
    found = find_held_out(Dataset(tmp_path, "x", "x", (case("a"), case("b", "Q")), test_cases=tests))
    assert [(doubt.case, doubt.code) for doubt in found] == [("t", "not_held_out"), ("u", "not_held_out")]
    assert "the file of a" in found[0].reason
    assert "of patient Q, as b is" in found[1].reason
