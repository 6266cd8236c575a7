"""From the plan's side axis to the batch: a body that is flipped keeps its left on the left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medseg.augmentation import augment_batch
from medseg.augmentation.mirror import MIRROR
from medseg.core.labels import LabelScheme
from medseg.planning.orientation import choose_mirroring
from medseg.training.job import Job
from medseg.training.learner import make_scene
from tests.training.examples import make_configuration, make_plan

LUNGS = LabelScheme.make({"left lung": 1, "right lung": 3, "heart": 2})
COUNT, EDGE = 64, 8


@pytest.mark.parametrize("dimensions", [2, 3])
def test_left_stays_left_where_the_network_s_side_axis_is_flipped(dimensions: int) -> None:
    found = choose_mirroring("SPL", LUNGS, dimensions=dimensions, flat=False, sides_only=False)
    training = {"mirror_axes": found.axes, "side_axis": found.side_axis, "side_pairs": found.side_pairs}
    configuration = make_configuration(dimensions=dimensions, **training)
    job = Job(make_plan(configuration, LUNGS), configuration, (), (), Path(), "")
    labels = torch.full((COUNT, *(EDGE,) * dimensions), 2, dtype=torch.uint8)
    labels[..., :3], labels[..., 5:] = 1, 3
    ramp = torch.arange(float(EDGE)).expand(COUNT, 1, *(EDGE,) * dimensions).clone()
    generators = [np.random.default_rng(seed) for seed in range(COUNT)]
    images, flipped = augment_batch(ramp.clone(), labels.clone(), generators, make_scene(job), [MIRROR])
    turned = (images != ramp).flatten(1).any(1)
    assert 16 < turned.sum() < 48
    assert torch.equal(images[turned], ramp[turned].flip(-1))
    assert torch.equal(flipped, labels)
