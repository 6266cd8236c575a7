"""Presets against nnU-Net's own planners, run on made-up and on real fingerprints."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.planning import plan_from_nnunet

pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed (group bench)")

PACKAGE = "nnunetv2.experiment_planning.experiment_planners"
RESIDUAL = f"{PACKAGE}.residual_unets.residual_encoder_unet_planners"
PLANNERS = {
    "nnunet": (f"{PACKAGE}.default_experiment_planner", "ExperimentPlanner"),
    "resenc-m": (RESIDUAL, "nnUNetPlannerResEncM"),
    "resenc-l": (RESIDUAL, "nnUNetPlannerResEncL"),
    "resenc-xl": (RESIDUAL, "nnUNetPlannerResEncXL"),
}
MEMORY_GB = {"nnunet": (None, 4.0, 24.0), "resenc-m": (None,), "resenc-l": (None, 12.0), "resenc-xl": (None, 80.0)}
STATISTICS = {
    name: value
    for value, name in enumerate(("min", "percentile_00_5", "median", "mean", "std", "percentile_99_5", "max"), start=1)
}
NAME = "Dataset999_made_up"


def make_task(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A fingerprint and dataset.json as nnU-Net writes them (axes k, j, i)."""
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
    channels = [str(rng.choice(["CT", "MR", "noNorm", "rgb_to_0_1", "CT_2"])) for _ in range(int(rng.integers(1, 4)))]
    fingerprint = {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "median_relative_size_after_cropping": float(rng.uniform(0.4, 1)),
        "foreground_intensity_properties_per_channel": {str(n): STATISTICS for n in range(len(channels))},
    }
    labels: dict[str, Any] = {"background": 0, **{f"label_{n}": n for n in range(1, int(rng.integers(2, 9)))}}
    if seed % 4 == 1:
        labels["ignore"] = len(labels)
    if seed % 4 == 2 and len(labels) > 2:
        labels["all"] = list(range(1, len(labels)))
    dataset = {
        "name": "made_up",
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": labels,
        "regions_class_order": list(range(1, len(labels))),
        "numTraining": len(shapes) + seed % 2,
        "file_ending": ".nii.gz",
    }
    return fingerprint, dataset


def write_task(folder: Path, fingerprint: dict[str, Any], dataset: dict[str, Any]) -> tuple[Path, Path]:
    """The two files where nnU-Net keeps them: (fingerprint, dataset.json)."""
    raw, preprocessed = (folder / name / NAME for name in ("raw", "preprocessed"))
    for path in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        path.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(dataset))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed / "dataset_fingerprint.json", raw / "dataset.json"


def run_nnunet(
    monkeypatch: pytest.MonkeyPatch, folder: Path, preset: str, memory_gb: float | None, spacing_mm: list[float] | None
) -> dict[str, Any]:
    """The plans that nnU-Net's planner writes for the files in a folder."""
    registry = importlib.import_module("nnunetv2.imageio.reader_writer_registry")
    default = importlib.import_module(PLANNERS["nnunet"][0])
    module, name = PLANNERS[preset]

    def choose_reader(planner: Any) -> Any:
        """There are no images to look at."""
        return registry.determine_reader_writer_from_dataset_json(planner.dataset_json, verbose=False)

    planner_class = type(
        name, (getattr(importlib.import_module(module), name),), {"determine_reader_writer": choose_reader}
    )
    monkeypatch.setattr(default, "nnUNet_raw", str(folder / "raw"))
    monkeypatch.setattr(default, "nnUNet_preprocessed", str(folder / "preprocessed"))
    monkeypatch.setattr(default, "maybe_convert_to_dataset_name", lambda name: name)
    target = {} if memory_gb is None else {"gpu_memory_target_in_gb": memory_gb}
    planner = planner_class(NAME, overwrite_target_spacing=spacing_mm, **target)
    planner.plan_experiment()
    plans: dict[str, Any] = json.loads(
        (folder / "preprocessed" / NAME / f"{planner.plans_identifier}.json").read_text()
    )
    return plans


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(24))
def test_nnunet_plans_the_same(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isotropic, anisotropic and flat data sets, regions, ignore labels, 4 to 80 GB, given spacings: every field."""
    preset = list(PLANNERS)[seed % 4]
    memory_gb = MEMORY_GB[preset][seed // 4 % len(MEMORY_GB[preset])]
    spacing_mm = [1.5, 0.9, 1.1] if seed % 7 == 3 else None
    files = write_task(tmp_path, *make_task(seed))
    theirs = run_nnunet(monkeypatch, tmp_path, preset, memory_gb, spacing_mm)
    ours = plan_from_nnunet(
        *files, preset=preset, gpu_memory_gb=memory_gb, spacing_mm=spacing_mm and spacing_mm[::-1], as_nnunet=True
    )
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif("MEDSEG_TEST_DATA" not in os.environ, reason="MEDSEG_TEST_DATA is not set")
@pytest.mark.parametrize("preset", ["resenc-m", "resenc-l", "resenc-xl"])
@pytest.mark.parametrize(
    "task", ["001_BrainTumour", "003_Liver", "004_Hippocampus", "005_Prostate", "006_Lung", "009_Spleen"]
)
def test_residual_presets_on_real_fingerprints(
    task: str, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six Decathlon data sets, three presets: every field of nnU-Net's plans."""
    source = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "nnunet_reference_plans" / f"Dataset{task}"
    read = (json.loads((source / name).read_text()) for name in ("dataset_fingerprint.json", "dataset.json"))
    files = write_task(tmp_path, *read)
    theirs = run_nnunet(monkeypatch, tmp_path, preset, None, None)
    assert plan_from_nnunet(*files, preset=preset, as_nnunet=True) == theirs
