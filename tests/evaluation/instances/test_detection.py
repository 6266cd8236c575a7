"""Average precision and FROC, against values by hand and a plain walk through the lesions."""

import numpy as np
import pytest

from medseg.evaluation.instances import (
    Detections,
    detect_lesions,
    measure_average_precision,
    measure_froc_mean,
    pool_detections,
    score_instances,
    trace_froc,
)


def detections(scores, pairs, reference_count, scans=1):
    references, predictions, iou = (np.array(column) for column in zip(*pairs, strict=True)) if pairs else [[]] * 3
    return Detections(
        np.array(scores, float),
        np.array(references, np.int64),
        np.array(predictions, np.int64),
        np.array(iou, float),
        reference_count,
        scans,
    )


def test_average_precision_by_hand():
    # Surest first: right, false, right; a third real lesion is never found.
    found = detections([0.9, 0.8, 0.7], [(0, 0, 0.6), (1, 2, 0.8)], 3)
    assert measure_average_precision(found, 0.5) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert measure_average_precision(found, 0.75) == pytest.approx(1 / 3 * 1 / 3)
    assert measure_average_precision(found, 0.9) == 0.0


def test_precision_is_made_falling():
    # False, right, right: precision 0, 1/2, 2/3; both steps of recall count 2/3.
    found = detections([0.9, 0.8, 0.7], [(0, 1, 0.6), (1, 2, 0.6)], 2)
    assert measure_average_precision(found, 0.5) == pytest.approx(2 / 3)


def test_a_real_lesion_is_found_once_by_the_best():
    # Both touch lesion 0; the surer one takes it, the other has lesion 1 left.
    found = detections([0.9, 0.8], [(0, 0, 0.6), (0, 1, 0.9), (1, 1, 0.5)], 2)
    assert measure_average_precision(found, 0.5) == 1.0
    twice = detections([0.9, 0.8], [(0, 0, 0.6), (0, 1, 0.9)], 1)
    assert measure_average_precision(twice, 0.5) == 1.0  # the second comes after all recall


def test_equal_scores_count_together():
    for pairs in ([(0, 0, 1.0)], [(0, 1, 1.0)]):
        assert measure_average_precision(detections([0.5, 0.5], pairs, 1), 0.5) == pytest.approx(0.5)


def test_nothing_real_and_nothing_predicted():
    assert measure_average_precision(detections([0.9], [], 0), 0.5) is None
    assert measure_average_precision(detections([], [], 2), 0.5) == 0.0
    assert trace_froc(detections([0.9], [], 0)) == trace_froc(detections([], [], 2)) == []
    assert measure_froc_mean([]) == 0.0


def test_froc_by_hand():
    # Two scans, three real lesions. 0.9 touches lesion 0, 0.8 none, 0.7 touches 0 and 1, 0.2 none.
    found = detections([0.9, 0.8, 0.7, 0.2], [(0, 0, 0.1), (0, 2, 0.1), (1, 2, 0.1)], 3, scans=2)
    points = [(point.threshold, point.false_per_scan, point.sensitivity) for point in trace_froc(found)]
    assert points == [
        (0.9, 0.0, pytest.approx(1 / 3)),
        (0.8, 0.5, pytest.approx(1 / 3)),
        (0.7, 0.5, pytest.approx(2 / 3)),
        (0.2, 1.0, pytest.approx(2 / 3)),
    ]
    # At 1/8 and 1/4 false ones a scan a third is found, from 1/2 on two thirds.
    assert measure_froc_mean(trace_froc(found)) == pytest.approx((2 + 5 * 2) / 3 / 7)


def test_froc_agrees_with_a_plain_count():
    rng = np.random.default_rng(1)
    for _ in range(20):
        probability, reference = rng.random((6, 6, 4)).round(1) ** 3, rng.random((6, 6, 4)) < 0.05
        found = detect_lesions(probability, reference, 0.4)
        for point in trace_froc(found):
            kept = set(np.flatnonzero(found.scores >= point.threshold).tolist())
            pairs = list(zip(found.references.tolist(), found.predictions.tolist(), strict=True))
            hit = {r for r, p in pairs if p in kept}
            assert point.sensitivity == pytest.approx(len(hit) / found.reference_count)
            assert point.false_per_scan == len(kept - {p for _, p in pairs})


def test_scores_of_lesions_come_from_their_voxels():
    reference, probability = np.zeros((8, 8, 3)), np.zeros((8, 8, 3), np.float32)
    reference[0:2, 0:2, 1] = 1
    probability[0:2, 0:2, 1] = [[0.9, 0.7], [0.8, 0.6]]
    probability[0, 2, 1] = 0.2  # a rim that the mask leaves out
    probability[6:8, 6, 1] = 0.3
    lesions = score_instances(probability >= 0.5, reference, probability)
    assert lesions.scores == pytest.approx([0.75])
    assert (lesions.iou.tolist(), lesions.reference_count) == ([1.0], 1)
    candidates = detect_lesions(probability, reference)
    assert candidates.scores == pytest.approx([0.9, 0.3])
    assert candidates.iou == pytest.approx([4 / 5])
    assert [(p.false_per_scan, p.sensitivity) for p in trace_froc(candidates)] == [(0.0, 1.0), (1.0, 1.0)]


def test_pooled_scans_are_one_list():
    first = detections([0.9, 0.4], [(0, 1, 0.7)], 2)
    second = detections([0.6], [(0, 0, 0.8)], 1)
    pooled = pool_detections([first, detections([], [], 0), second])
    assert (pooled.scans, pooled.reference_count, pooled.scores.tolist()) == (3, 3, [0.9, 0.4, 0.6])
    assert (pooled.references.tolist(), pooled.predictions.tolist()) == ([0, 2], [1, 2])
    # false, right (0.6), right (0.4): precision 0, 1/2, 2/3 over three real ones.
    assert measure_average_precision(pooled, 0.5) == pytest.approx(2 / 3 * 2 / 3)
