"""Masks that look mirrored: planted ones are found, sound ones left in peace, in made-up and in real data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.dataset import Case, ImageSource, MaskSource
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint.mirrored import FEWEST_CASES, find_mirrored, note_all_mirrored
from medseg.fingerprint.placements import Placements, list_placements, measure_placements
from medseg.io import open_dataset, read_segmentation, read_volume

LABELS = LabelScheme.make({"liver": 1, "spleen": 2})
SHAPE = (40, 36, 20)
Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
DATA = Path(os.environ.get("MEDSEG_TEST_DATA", "")) / "data"
needs_data = pytest.mark.skipif(not (DATA / "hippocampus").is_dir(), reason="MEDSEG_TEST_DATA has no data/hippocampus")


def make_case(
    seed: int, change: Change | None = None, affine: NDArray[Any] | None = None
) -> tuple[Volume, Segmentation]:
    """A body with a large organ on one side and a small one on the other, each brighter than what is around it."""
    rng = np.random.default_rng(seed)
    grid = Geometry(SHAPE, np.diag([2.0, 2.0, 4.0, 1.0]) if affine is None else affine)
    place = np.indices(SHAPE).reshape(3, -1).T
    mask = np.zeros(SHAPE, np.uint8)
    for value, centre, radii in ((1, (26, 20, 11), (9, 8, 5)), (2, (9, 13, 8), (4, 5, 3))):
        shifted = np.array(centre) + rng.uniform(-1.5, 1.5, 3)
        inside = (((place - shifted) / (np.array(radii) * rng.uniform(0.85, 1.1, 3))) ** 2).sum(axis=1) < 1
        mask[inside.reshape(SHAPE)] = value
    image = np.where(((place - np.array(SHAPE) / 2) ** 2 / np.array([18, 16, 12]) ** 2).sum(axis=1) < 1, 30.0, -900.0)
    image = image.reshape(SHAPE) + rng.normal(0, 12, SHAPE)
    image[mask == 1] += 60 + rng.normal(0, 8)
    image[mask == 2] += 90 + rng.normal(0, 8)
    drawn = mask if change is None else np.ascontiguousarray(change(mask))
    return Volume(image[None].astype(np.float32), grid, ("CT",)), Segmentation(drawn, grid)


def measure(changes: dict[int, Change], count: int = 12) -> tuple[list[Case], dict[str, Placements]]:
    cases = [Case(f"c{n:02d}", (ImageSource(Path(f"c{n}.nii")),), MaskSource(Path(f"m{n}.nii"))) for n in range(count)]
    found = {}
    for number, case in enumerate(cases):
        placements = measure_placements(*make_case(number, changes.get(number)), LABELS)
        assert placements is not None
        found[case.name] = placements
    return cases, found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: mask[::-1], "mirrored left-right it"),
        (lambda mask: mask[:, ::-1], "mirrored back-front it"),
        (lambda mask: mask[..., ::-1], "mirrored down-up it"),
        (lambda mask: mask[::-1, ::-1], "mirrored left-right and back-front it"),
    ],
)
def test_a_mirrored_mask_is_found_among_sound_ones(change: Change, words: str) -> None:
    """That case alone, with its file, and the way in which it would fit."""
    warnings = find_mirrored(*measure({5: change}))
    assert [(warning.case, warning.code, warning.file) for warning in warnings] == [("c05", "mirrored_mask", "m5.nii")]
    assert words in warnings[0].reason
    assert warnings[0].remedy


def test_sound_masks_are_left_in_peace() -> None:
    """No warning, whatever the order of the cases; nor where there are too few cases to learn from."""
    cases, found = measure({})
    assert find_mirrored(cases, found) == []
    assert note_all_mirrored(list(found.values())) == ()
    cases, found = measure({2: lambda mask: mask[::-1]}, FEWEST_CASES - 1)
    assert find_mirrored(cases, found) == []


def test_masks_that_are_all_mirrored_are_told_by_their_images() -> None:
    """Then the cases agree with one another, and only the images' edges speak against them."""
    _, found = measure(dict.fromkeys(range(12), lambda mask: mask[::-1]))
    (line,) = note_all_mirrored(list(found.values()))
    assert "mirrored left-right, 12 of 12" in line


def test_transposed_masks_are_among_the_placements() -> None:
    """Axes of equal length can have been exchanged; an axis of length 1 cannot be flipped."""
    assert len(list_placements((40, 36, 20))) == 8
    assert len(list_placements((40, 40, 20))) == 16
    assert len(list_placements((40, 36, 1))) == 4
    assert list_placements((40, 40, 20))[0].describe() == ""
    assert "with left-right and back-front exchanged" in {way.describe() for way in list_placements((40, 40, 20))}


def test_the_file_s_orientation_does_not_matter() -> None:
    """The same scan stored along other axes shows the same under its mask."""
    volume, mask = make_case(1)
    turned = np.diag([-2.0, 2.0, 4.0, 1.0])
    turned[0, 3] = 2.0 * (SHAPE[0] - 1)
    grid = Geometry(SHAPE, turned)
    flipped = Volume(volume.array[:, ::-1], grid, ("CT",)), Segmentation(mask.array[::-1], grid)
    one, other = measure_placements(volume, mask, LABELS), measure_placements(*flipped, LABELS)
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.looks, other.looks)
    np.testing.assert_array_equal(one.places, other.places)


def test_a_mask_of_next_to_nothing_says_nothing() -> None:
    """No label with 30 voxels."""
    volume, mask = make_case(1)
    assert measure_placements(volume, Segmentation(np.zeros_like(mask.array), mask.geometry), LABELS) is None


def read_placements(folder: str, channels: list[str], count: int, changes: dict[int, Change]) -> Any:
    dataset = open_dataset(DATA / folder, channels=channels)
    labels = dataset.labels or LabelScheme.make({"tumour": 1})
    found = {}
    for number, case in enumerate(dataset.cases[:count]):
        assert case.mask is not None
        volume = read_volume(case, dataset.channels)
        mask = read_segmentation(case.mask, labels=labels, like=volume.geometry)
        if number in changes:
            mask = Segmentation(np.ascontiguousarray(changes[number](mask.array)), mask.geometry)
        placements = measure_placements(volume, mask, labels)
        assert placements is not None
        found[case.name] = placements
    return dataset.cases[:count], found


@needs_data
def test_planted_masks_of_hippocampi_are_found_and_no_other() -> None:
    """Three of fifty, each mirrored along another axis."""
    changes: dict[int, Change] = {
        7: lambda mask: mask[::-1], 20: lambda mask: mask[:, ::-1], 33: lambda mask: mask[..., ::-1]
    }  # fmt: skip
    cases, found = read_placements("hippocampus", ["MR"], 50, changes)
    assert [warning.case for warning in find_mirrored(cases, found)] == [cases[number].name for number in changes]


@needs_data
@pytest.mark.parametrize(("folder", "channel"), [("sarcoma_mr", "MR"), ("sarcoma_ct_pet/CT", "CT")])
def test_sound_tumours_raise_no_alarm(folder: str, channel: str) -> None:
    """Tumours lie anywhere, so that little is known about where they should."""
    cases, found = read_placements(folder, [channel], 40, {})
    assert find_mirrored(cases, found) == []
    assert note_all_mirrored(list(found.values())) == ()
