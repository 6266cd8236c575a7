"""The nnunet preset against nnU-Net's own planner, run on made-up data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.core.plan import Configuration
from medseg.planning import make_plan
from tests.planning.fingerprints import convert_nnunet

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (group bench)")

SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RGBTo01Normalization": "rgb_to_01",
}
STATISTICS = {
    name: value
    for value, name in enumerate(("min", "percentile_00_5", "median", "mean", "std", "percentile_99_5", "max"), start=1)
}


def make_task(seed: int) -> tuple[dict[str, Any], dict[str, Any], float]:
    """A fingerprint and dataset.json as nnU-Net writes them (axes k, j, i), and a memory target in GB."""
    rng = np.random.default_rng(seed)
    spacing = np.exp(rng.uniform(np.log(0.3), np.log(2), 3))
    if seed % 3:  # most scanners: square pixels, slices thicker or not
        spacing = np.array([spacing[1] * (1, 1, rng.uniform(1, 10))[seed % 3], spacing[1], spacing[1]])
    view_mm, spacings, shapes = rng.uniform(60, 400, 3), [], []
    for _ in range(int(rng.integers(2, 40))):
        own = spacing * np.exp(rng.normal(0, 0.15, 3))
        shape = np.maximum(8, np.rint(view_mm / own)).astype(int)
        if seed % 7 == 6:  # pictures
            own[0], shape[0] = 999.0, 1
        spacings.append(own.tolist())
        shapes.append(shape.tolist())
    channels = [str(rng.choice(["CT", "MR", "noNorm", "rgb_to_0_1"])) for _ in range(int(rng.integers(1, 4)))]
    fingerprint = {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "median_relative_size_after_cropping": float(rng.uniform(0.4, 1)),
        "foreground_intensity_properties_per_channel": {str(n): STATISTICS for n in range(len(channels))},
    }
    dataset = {
        "name": "made_up",
        "channel_names": dict(enumerate(channels)),
        "labels": {"background": 0, **{f"label_{n}": n for n in range(1, int(rng.integers(2, 9)))}},
        "numTraining": len(shapes),
        "file_ending": ".nii.gz",
    }
    return fingerprint, dataset, float(rng.choice([4, 8, 24]))


def run_nnunet(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    fingerprint: dict[str, Any],
    dataset: dict[str, Any],
    memory_gb: float,
) -> dict[str, Any]:
    """The plans that nnU-Net's ExperimentPlanner writes."""
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as module

    class Planner(module.ExperimentPlanner):  # type: ignore[misc, name-defined]
        def determine_reader_writer(self) -> type:
            """There are no images to look at."""
            return object

    raw, preprocessed = (folder / name / "Dataset999_made_up" for name in ("raw", "preprocessed"))
    for path in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        path.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(dataset))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    monkeypatch.setattr(module, "nnUNet_raw", str(raw.parent))
    monkeypatch.setattr(module, "nnUNet_preprocessed", str(preprocessed.parent))
    monkeypatch.setattr(module, "maybe_convert_to_dataset_name", lambda name: name)
    Planner(raw.name, memory_gb).plan_experiment()
    plans: dict[str, Any] = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    return plans


def as_nnunet(ours: Configuration) -> dict[str, Any]:
    """Our configuration in nnU-Net's words."""
    seen = slice(3 - ours.dimensions, None)
    network = ours.network
    return {
        "patch_size": list(ours.patch_size[seen]),
        "batch_size": ours.batch_size,
        "spacing": list(ours.spacing_mm[seen]),
        "batch_dice": ours.batch_dice,
        "use_mask_for_norm": [channel.inside_mask for channel in ours.normalisation],
        "normalization_schemes": [channel.scheme for channel in ours.normalisation],
        "features_per_stage": list(network.features),
        "strides": [list(stage) for stage in network.strides],
        "kernel_sizes": [list(stage) for stage in network.kernels],
        "n_conv_per_stage": list(network.convolutions),
        "n_conv_per_stage_decoder": list(network.decoder_convolutions),
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(14))
def test_nnunet_plans_the_same(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isotropic, anisotropic and flat data sets, 4 to 24 GB: every number is nnU-Net's."""
    fingerprint, dataset, memory_gb = make_task(seed)
    theirs = run_nnunet(monkeypatch, tmp_path, fingerprint, dataset, memory_gb)
    dataset["channel_names"] = {str(key): name for key, name in dataset["channel_names"].items()}
    plan = make_plan(convert_nnunet(fingerprint, dataset), gpu_memory_gb=memory_gb)
    assert plan.axis_order == tuple(2 - axis for axis in theirs["transpose_forward"])
    assert set(plan.configurations) == set(theirs["configurations"]) & {"2d", "3d_fullres"}
    for name, configuration in plan.configurations.items():
        expected = theirs["configurations"][name]
        expected = {**expected, **expected["architecture"]["arch_kwargs"]}
        expected["normalization_schemes"] = [SCHEMES[scheme] for scheme in expected["normalization_schemes"]]
        ours = as_nnunet(configuration)
        assert ours == {key: expected[key] for key in ours}
