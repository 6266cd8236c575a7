"""Folders of masks against folders of references: what is said where a pair does not fit."""

from pathlib import Path

import numpy as np

from medseg.core.dataset import MaskSource
from medseg.core.labels import LabelScheme
from medseg.evaluation.folders import evaluate_pairs
from tests.io.trees import save_mask

MASK = np.pad(np.ones((4, 4, 4)), ((4, 4), (4, 3), (3, 3)))
LABELS = LabelScheme.make({"organ": 1})


def test_another_grid_is_compared_with_the_reference_s(tmp_path: Path) -> None:
    reference = MaskSource(save_mask(tmp_path / "reference.nii.gz", MASK))
    coarse = MaskSource(save_mask(tmp_path / "coarse.nii.gz", MASK, np.diag([2.0, 2.0, 2.0, 1.0])))
    parts = tmp_path / "parts" / "organ.nii.gz"
    structures = MaskSource(parts.parent, (("organ", save_mask(parts, MASK[:6])),))
    outcomes, scores = evaluate_pairs({"a": (coarse, reference), "b": (structures, reference)}, LABELS, {})
    assert scores == []
    assert [outcome.status for outcome in outcomes] == ["refused", "refused"]
    for outcome in outcomes:
        assert "is not the reference's" in outcome.reason
        assert "the reference's header" in outcome.remedy
        assert "image" not in outcome.line()


def test_axes_in_another_order_are_turned_to_the_reference_s(tmp_path: Path) -> None:
    reference = MaskSource(save_mask(tmp_path / "reference.nii.gz", MASK))
    turned = MaskSource(save_mask(tmp_path / "x.nii.gz", MASK.transpose(1, 0, 2), np.eye(4)[:, [1, 0, 2, 3]]))
    outcomes, scores = evaluate_pairs({"a": (turned, reference)}, LABELS, {})
    assert [outcome.status for outcome in outcomes] == ["done"]
    assert {row.value for row in scores if row.metric == "dice" and row.instance == 0} == {1.0}
