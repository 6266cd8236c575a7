"""The nnunet preset against the plans that nnU-Net itself wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from medseg.core.plan import Configuration
from medseg.planning import make_plan
from tests.planning.fingerprints import convert_nnunet

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
FOLDER = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "nnunet_reference_plans"

SCHEMES = {"CTNormalization": "ct", "ZScoreNormalization": "zscore"}


def check_configuration(ours: Configuration, theirs: dict[str, Any]) -> None:
    """Our configuration has the numbers of nnU-Net's."""
    network, unet = ours.network, theirs["architecture"]["arch_kwargs"]
    dimensions = len(theirs["patch_size"])
    assert list(ours.patch_size[-dimensions:]) == list(theirs["patch_size"])
    assert ours.batch_size == theirs["batch_size"]
    assert list(ours.spacing_mm[-dimensions:]) == list(theirs["spacing"])
    assert list(ours.median_shape[-dimensions:]) == [round(n) for n in theirs["median_image_size_in_voxels"]]
    assert list(network.features) == list(unet["features_per_stage"])
    assert [list(stage) for stage in network.strides] == [list(stage) for stage in unet["strides"]]
    assert [list(stage) for stage in network.kernels] == [list(stage) for stage in unet["kernel_sizes"]]
    assert list(network.convolutions) == list(unet["n_conv_per_stage"])
    assert list(network.decoder_convolutions) == list(unet["n_conv_per_stage_decoder"])
    assert ours.batch_dice == theirs["batch_dice"]
    assert [channel.scheme for channel in ours.normalisation] == [SCHEMES[n] for n in theirs["normalization_schemes"]]
    assert [channel.inside_mask for channel in ours.normalisation] == list(theirs["use_mask_for_norm"])


@pytest.mark.parametrize("task", sorted(path.name for path in FOLDER.iterdir()))
def test_the_nnunet_preset_plans_what_nnunet_planned(task: str) -> None:
    """Six data sets: patch, batch, spacing, pooling, kernels, channels, normalisation, Dice over the batch."""
    read = {name: json.loads((FOLDER / task / f"{name}.json").read_text()) for name in ("dataset", "plans")}
    fingerprint = json.loads((FOLDER / task / "dataset_fingerprint.json").read_text())
    plan = make_plan(convert_nnunet(fingerprint, read["dataset"]))
    assert plan.axis_order == tuple(2 - axis for axis in read["plans"]["transpose_forward"])
    assert set(plan.configurations) == {"2d", "3d_fullres"}
    for name, configuration in plan.configurations.items():
        check_configuration(configuration, read["plans"]["configurations"][name])
