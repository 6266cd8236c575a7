"""What every registered metric does."""

import json

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.results import Score, rows_as_json
from medseg.core.volume import Segmentation
from medseg.evaluation import evaluate_case
from medseg.evaluation.metrics import METRICS
from tests.phantoms import ball, centre_of, lesions, oblique_geometry, segmentation_of

GEOMETRY = oblique_geometry((20, 18, 12), (1.0, 1.1, 2.0))
CENTRE = centre_of(GEOMETRY)
LABELS = LabelScheme.make({"tumour": 1})
REFERENCE = segmentation_of(GEOMETRY, lesions(GEOMETRY, [(CENTRE, 4.0), (CENTRE + np.array([7.0, 6.0, 0.0]), 2.0)]))
SHIFTED = segmentation_of(GEOMETRY, ball(GEOMETRY, CENTRE + np.array([1.5, 0.0, 0.0]), 4.0))
EMPTY = Segmentation(np.zeros(GEOMETRY.shape, np.uint8), GEOMETRY)

# 0 where perfect; of all others 1 is best.
DISTANCES = {"hd", "hd95", "assd", "masd", "false_negative_volume_ml", "false_positive_volume_ml"}
# The shifted prediction finds the first lesion, and has no lesion that is not there.
BLIND = {"lesion_precision", "lesion_found", "predicted_lesion_real", "false_positive_volume_ml"}
SIZES = {"lesion_volume_ml", "predicted_lesion_volume_ml", "predicted_volume_ml", "reference_volume_ml"}  # no scores

pytestmark = pytest.mark.parametrize("name", list(METRICS))


def score(name: str, prediction: Segmentation, reference: Segmentation) -> list[Score]:
    return evaluate_case(prediction, reference, LABELS, case="a", metrics=[name])


def test_perfect_prediction_has_the_best_value(name: str) -> None:
    rows = score(name, REFERENCE, REFERENCE)
    assert rows
    if name not in SIZES:
        assert {row.value for row in rows} == ({0.0} if name in DISTANCES else {1.0})
    assert {row.status for row in rows} == {"ok"}


def test_worse_prediction_has_a_worse_value(name: str) -> None:
    for row in score(name, SHIFTED, REFERENCE):
        assert row.value is not None
        assert np.isfinite(row.value)
        assert row.value >= 0 if name in DISTANCES | SIZES else 0 <= row.value <= 1
    first = score(name, SHIFTED, REFERENCE)[0].value
    assert first is not None
    assert name in BLIND | SIZES or (first > 0 if name in DISTANCES else first < 1)


@pytest.mark.parametrize(
    ("prediction", "reference", "status"),
    [(EMPTY, EMPTY, "both_empty"), (EMPTY, REFERENCE, "prediction_empty"), (REFERENCE, EMPTY, "reference_empty")],
    ids=["both", "prediction", "reference"],
)
def test_empty_masks_are_named_and_never_minus_one(
    name: str, prediction: Segmentation, reference: Segmentation, status: str
) -> None:
    for row in score(name, prediction, reference):
        assert row.status == status
        assert row.value is None or row.value >= 0


def test_rows_are_json_and_the_same_again(name: str) -> None:
    rows = rows_as_json(score(name, SHIFTED, REFERENCE))
    assert rows == rows_as_json(score(name, SHIFTED, REFERENCE))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert {row["metric"] for row in rows} == {"dice" if name == "lesion_dice" else name}
    assert all(row["definition"] and "{" not in row["definition"] for row in rows)
