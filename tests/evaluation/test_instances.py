"""Lesions matched one to one."""

import numpy as np
import pytest

from medseg.evaluation.instances import (
    match_lesions,
    measure_lesion_f1,
    measure_lesion_precision,
    measure_lesion_recall,
)
from medseg.shapes.components import find_components


def paint(*boxes):
    mask = np.zeros((12, 12, 6), np.uint8)
    for (i, j), (height, width) in boxes:
        mask[i : i + height, j : j + width, 1:3] = 1
    return mask


def test_counts_found_missed_and_false_lesions():
    reference = paint(((0, 0), (4, 4)), ((6, 0), (2, 2)), ((9, 9), (3, 2)))
    prediction = paint(((1, 0), (4, 4)), ((9, 9), (3, 3)), ((0, 10), (2, 2)), ((6, 6), (1, 1)))
    match = match_lesions(prediction, reference)
    assert (match.reference_count, match.prediction_count, match.found) == (3, 4, 2)
    assert match.dice == pytest.approx((24 / 32, 2 * 12 / 30, 0.0))
    assert match.partners[2] == 0
    assert measure_lesion_f1(match) == pytest.approx(4 / 7)
    assert measure_lesion_precision(match) == pytest.approx(2 / 4)
    assert measure_lesion_recall(match) == pytest.approx(2 / 3)


def test_one_component_finds_one_lesion_only():
    reference = paint(((0, 0), (4, 5)), ((0, 6), (4, 3)))
    bridge = paint(((0, 0), (4, 9)))
    match = match_lesions(bridge, reference)
    assert match.partners == (1, 0)
    split = match_lesions(reference, bridge)
    assert split.found == 1
    assert split.dice == pytest.approx((2 * 40 / (40 + 72),))
    assert measure_lesion_f1(match) == measure_lesion_f1(split) == pytest.approx(2 / 3)


def test_largest_overlap_chooses_first():
    reference = paint(((0, 0), (6, 3)), ((0, 6), (2, 4)))
    prediction = paint(((4, 0), (2, 5)), ((0, 0), (3, 4)), ((1, 8), (1, 4)))
    match = match_lesions(prediction, reference)
    assert match.partners[0] == 1  # 9 shared pixels against 6 of the other piece
    assert match.found == 2


def test_nothing_to_match():
    empty, one = paint(), paint(((0, 0), (2, 2)))
    neither = match_lesions(empty, empty)
    assert neither.dice == ()
    assert (measure_lesion_f1(neither), measure_lesion_precision(neither), measure_lesion_recall(neither)) == (
        None,
    ) * 3
    missed = match_lesions(empty, one)
    assert (measure_lesion_f1(missed), measure_lesion_precision(missed), measure_lesion_recall(missed)) == (0, None, 0)
    false = match_lesions(one, empty)
    assert (measure_lesion_f1(false), measure_lesion_precision(false), measure_lesion_recall(false)) == (0, 0, None)


def test_random_masks_agree_with_a_plain_greedy_matching():
    rng = np.random.default_rng(3)
    for _ in range(30):
        prediction, reference = (rng.random((8, 9, 7)) < density for density in rng.uniform(0.02, 0.15, 2))
        (predicted, n), (expected, m) = find_components(prediction), find_components(reference)
        shared = {(r, p): np.sum((expected == r) & (predicted == p)) for r in range(1, m + 1) for p in range(1, n + 1)}
        partners, taken = [0] * m, set()
        for _, r, p in sorted((-voxels, r, p) for (r, p), voxels in shared.items() if voxels):
            if not partners[r - 1] and p not in taken:
                partners[r - 1] = p
                taken.add(p)
        match = match_lesions(prediction, reference)
        assert (match.reference_count, match.prediction_count, list(match.partners)) == (m, n, partners)
