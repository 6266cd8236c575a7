"""Whole scans of a fold: the memory that is there, and the sides that stay where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from medseg.core.dataset import Case, ImageSource
from medseg.core.volume import Segmentation
from medseg.io import read_segmentation
from medseg.networks import build_network
from medseg.preprocessing import PreparedCase
from medseg.training import Validator, make_validator, validate_case
from tests.preprocessing.examples import CLASSES, make_scan
from tests.training.examples import make_configuration, make_plan, prepare_cases


@pytest.fixture
def case(tmp_path: Path) -> tuple[Validator, PreparedCase, Segmentation]:
    configuration = make_configuration()
    plan = make_plan(configuration)
    network = build_network(configuration, 1, CLASSES.channel_count, seed=1)
    validator = make_validator(plan, configuration, network.state_dict(), fold=0, device="cpu")
    prepared = prepare_cases(tmp_path, plan, configuration, count=1)[0]
    return validator, prepared, make_scan(seed=0)[1]


def validate(validator: Validator, prepared: PreparedCase, reference: Segmentation, target: Path) -> np.ndarray:
    scan = Case(prepared.name, (ImageSource(target),))
    assert {score.case for score in validate_case(validator, scan, prepared, lambda _: reference, target)} == {
        scan.name
    }
    return read_segmentation(target, labels=CLASSES).array


def test_a_scan_that_does_not_fit_goes_through_with_fewer_windows(
    case: tuple[Validator, PreparedCase, Segmentation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validator, prepared, reference = case
    expected = validate(validator, prepared, reference, tmp_path / "all.nii.gz")
    sizes = []

    def crowd(windows: Tensor) -> Tensor:
        sizes.append(len(windows))
        if len(windows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return validator.forward(windows)

    found = validate(replace(validator, forward=crowd), prepared, reference, tmp_path / "few.nii.gz")
    assert max(sizes) > 2
    assert sizes[-1] <= 2
    assert "memory is full" in caplog.text
    assert np.array_equal(found, expected)


def test_the_side_axis_is_not_flipped(case: tuple[Validator, PreparedCase, Segmentation], tmp_path: Path) -> None:
    validator, prepared, reference = case

    def with_training(**changes: object) -> Validator:
        training = validator.configuration.training.model_copy(update=changes)
        return replace(validator, configuration=validator.configuration.model_copy(update={"training": training}))

    sided = with_training(mirror_axes=(0, 1, 2), side_axis=2, side_pairs=((1, 3),))
    masks = [
        validate(found, prepared, reference, tmp_path / f"{number}.nii.gz")
        for number, found in enumerate((sided, with_training(mirror_axes=(0, 1)), with_training(mirror_axes=(0, 1, 2))))
    ]
    assert np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])
