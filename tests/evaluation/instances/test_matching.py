"""Lesions matched by each rule, against hand-counted masks and plain searches."""

import itertools

import numpy as np
import pytest

from medseg.core.errors import PlanError
from medseg.evaluation.instances import (
    ANY_OVERLAP,
    HALF_IOU,
    Matching,
    count_false_voxels,
    count_missed_voxels,
    match_lesions,
    match_overlaps,
    measure_lesion_f1,
    measure_lesion_precision,
    measure_lesion_recall,
    measure_panoptic_quality,
    measure_segmentation_quality,
    overlap_lesions,
    parse_matching,
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


def best_assignment(overlaps, least_iou):
    """By trying all: the most matches, and among those the largest sum of IoU."""
    pairs = [
        (int(r), int(p), float(iou))
        for r, p, iou in zip(overlaps.references, overlaps.predictions, overlaps.iou, strict=True)
        if iou >= least_iou
    ]
    best = (0, 0.0)
    for size in range(len(pairs) + 1):
        for chosen in itertools.combinations(pairs, size):
            if len({r for r, _, _ in chosen}) == len({p for _, p, _ in chosen}) == size:
                best = max(best, (size, sum(iou for _, _, iou in chosen)))
    return best


def test_maximum_matching_agrees_with_trying_all():
    rng = np.random.default_rng(5)
    more = 0
    for _ in range(40):
        prediction, reference = (rng.random((4, 4, 3)) < 0.35 for _ in range(2))
        overlaps = overlap_lesions(prediction, reference, connectivity=6)
        if overlaps.iou.size > 11:
            continue
        for least_iou in (0.0, 0.2):
            match = match_overlaps(overlaps, Matching(least_iou, "maximum", 6))
            count, total = best_assignment(overlaps, least_iou)
            assert (match.found, sum(match.iou)) == (count, pytest.approx(total))
            greedy = match_overlaps(overlaps, Matching(least_iou, "greedy", 6))
            assert greedy.found <= match.found
            more += greedy.found < match.found
    assert more  # greedy is not always as good, so that the difference was tried


def test_many_to_one_joins_pieces():
    whole = paint(((0, 0), (4, 9)))
    pieces = paint(((0, 0), (4, 5)), ((0, 6), (4, 3)))
    joined = match_lesions(pieces, whole, "iou>=0.8 many_to_one")
    assert (joined.found, joined.real, joined.iou) == (1, (True, True), (pytest.approx(64 / 72),))
    assert joined.partners == (1,)
    assert measure_lesion_f1(joined) == 1.0
    bridge = match_lesions(whole, pieces, "any_overlap many_to_one")  # goes to the larger piece alone
    assert (bridge.found, bridge.real) == (1, (True,))
    assert bridge.dice == (pytest.approx(2 * 40 / (40 + 72)), 0.0)
    # Joined, the pieces are not alike enough.
    assert match_lesions(pieces, whole, "iou>=0.9 many_to_one").real == (False, False)


def test_many_to_many_counts_touching():
    whole, pieces = paint(((0, 0), (4, 9))), paint(((0, 0), (4, 5)), ((0, 6), (4, 3)), ((8, 8), (1, 1)))
    bridge = match_lesions(whole, pieces, "any_overlap many_to_many")
    assert (bridge.partners, bridge.real) == ((1, 1, 0), (True,))
    split = match_lesions(pieces, whole, "any_overlap many_to_many")
    assert (split.found, split.real) == (1, (True, True, False))
    assert (count_missed_voxels(bridge), count_false_voxels(bridge)) == (2, 0)
    assert (count_missed_voxels(split), count_false_voxels(split)) == (0, 2)
    assert measure_lesion_precision(split) == pytest.approx(2 / 3)


def test_threshold_of_iou():
    reference, prediction = paint(((0, 0), (4, 4))), paint(((2, 0), (4, 4)))  # 8 of 24 voxels a layer
    for name, found in (("iou>=0.33", 1), ("iou>=0.34", 0), ("any_overlap", 1)):
        match = match_lesions(prediction, reference, name)
        assert (match.found, sum(match.real)) == (found, found)
        assert match.iou == ((pytest.approx(8 / 24),) if found else (0.0,))


def test_connectivity_decides_what_a_lesion_is():
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = 1  # an edge, then a corner in common
    counts = {c: match_lesions(mask, mask, f"any_overlap conn={c}").reference_count for c in (6, 18, 26)}
    assert counts == {6: 3, 18: 2, 26: 1}


def test_names_of_rules_are_read_and_written():
    for name in (
        "any_overlap conn=26",
        "iou>=0.5 conn=18",
        "any_overlap maximum conn=6",
        "iou>=0.25 many_to_one conn=26",
    ):
        assert parse_matching(name).name == name
    assert parse_matching("any_overlap") == ANY_OVERLAP == parse_matching(ANY_OVERLAP)
    assert parse_matching("iou>=0.5") == HALF_IOU
    for wrong in (
        "overlap",
        "iou>=0",
        "iou>=1.5",
        "iou>=1.2.3",
        "iou>=.",
        "any_overlap conn=8",
        "any_overlap best",
        "",
    ):
        with pytest.raises(PlanError, match="no rule"):
            parse_matching(wrong)


def test_panoptic_quality_by_hand():
    # IoU 12/16 a layer, 4/12 (too little), and one predicted alone: two real, three predicted, one true positive.
    reference = paint(((0, 0), (4, 4)), ((8, 0), (2, 4)))
    prediction = paint(((0, 0), (3, 4)), ((9, 0), (2, 4)), ((6, 8), (2, 2)))
    match = match_lesions(prediction, reference, HALF_IOU)
    assert match.found == 1
    assert measure_segmentation_quality(match) == pytest.approx(0.75)
    assert measure_lesion_f1(match) == pytest.approx(2 / 5)
    assert measure_panoptic_quality(match) == pytest.approx(0.75 * 2 / 5)
    missed = match_lesions(paint(((9, 9), (1, 1))), reference, HALF_IOU)
    assert (measure_segmentation_quality(missed), measure_panoptic_quality(missed)) == (None, 0.0)
    nothing = match_lesions(paint(), paint(), HALF_IOU)
    assert (measure_segmentation_quality(nothing), measure_panoptic_quality(nothing)) == (None, None)
