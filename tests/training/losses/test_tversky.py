"""The Tversky index in closed form."""

import pytest
import torch

from medseg.core.labels import LabelScheme
from medseg.training.losses import build_loss

ONE = LabelScheme.make({"tumour": 1})
SURE = 60.0  # of a logit whose entropy is 0 where it is right


def index_of(found: list[int], true: list[int]) -> float:
    """The index of a prediction without doubt."""
    logits = (torch.tensor(found, dtype=torch.float32) * 2 - 1).reshape(1, 1, -1, 1) * SURE
    targets = torch.tensor(true, dtype=torch.float32).reshape(1, 1, -1, 1)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    return float(entropy - build_loss("tversky", ONE, batch_dice=False)(logits, targets, None))


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 1, 0], [1, 1, 0, 0], 2 / 2.3),  # one voxel wrong
        ([1, 0, 0, 0], [1, 1, 0, 0], 1 / 1.7),  # one voxel missed
        ([0, 1, 1, 0], [1, 1, 0, 0], 1 / 2.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
    ],
)
def test_index_is_the_published_one(found: list[int], true: list[int], expected: float) -> None:
    assert index_of(found, true) == pytest.approx(expected, abs=1e-4)
