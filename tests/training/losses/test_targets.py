"""Label values as membership maps."""

import numpy as np
import torch

from medseg.training.losses import encode_targets
from tests.preprocessing.examples import CLASSES, REGIONS


def test_targets_follow_the_label_scheme() -> None:
    values = np.array([[0, 1, 3, 255], [3, 0, 255, 1]], np.uint8)
    table = torch.from_numpy(CLASSES.channel_table()).float()
    targets, mask = encode_targets(torch.from_numpy(values), table, CLASSES.ignore)
    assert mask is not None
    assert torch.equal(mask[:, 0], torch.from_numpy((values != 255).astype(np.float32)))
    assert torch.equal(targets[:, 1], torch.from_numpy((values == 1).astype(np.float32)))
    assert torch.equal(targets[:, 2], torch.from_numpy((values == 3).astype(np.float32)))
    assert torch.equal(targets.sum(1), mask[:, 0])
    regions, none = encode_targets(torch.tensor([[0, 1, 2]]), torch.from_numpy(REGIONS.channel_table()).float(), None)
    assert none is None
    assert regions[0].tolist() == [[0, 1, 1], [0, 0, 1]]
