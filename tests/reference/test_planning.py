"""Plans of six data sets against the plans that nnU-Net itself wrote, field by field."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from medseg.core.plan import Plan
from medseg.planning import plan_from_nnunet

if "MEDSEG_TEST_DATA" not in os.environ:
    pytest.skip("MEDSEG_TEST_DATA is not set", allow_module_level=True)
FOLDER = Path(os.environ["MEDSEG_TEST_DATA"]) / "data" / "nnunet_reference_plans"
TASKS = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("task", TASKS)
def test_the_nnunet_preset_writes_the_plans_that_nnunet_wrote(task: str) -> None:
    """Every key and value, in nnU-Net's order: 2d, 3d_fullres, 3d_lowres and the cascade where nnU-Net has them."""
    files = FOLDER / task / "dataset_fingerprint.json", FOLDER / task / "dataset.json"
    made = plan_from_nnunet(*files, preset="nnunet", as_nnunet=True)
    theirs = json.loads((FOLDER / task / "plans.json").read_text())
    assert made == theirs
    assert json.dumps(made) == json.dumps(theirs)


@pytest.mark.parametrize("task", TASKS)
def test_our_own_plan_has_the_same_configurations(task: str) -> None:
    """Axis order, patch, batch and the stages of the cascade."""
    theirs = json.loads((FOLDER / task / "plans.json").read_text())
    plan = plan_from_nnunet(FOLDER / task / "dataset_fingerprint.json", FOLDER / task / "dataset.json")
    assert isinstance(plan, Plan)
    assert plan.axis_order == tuple(2 - axis for axis in theirs["transpose_forward"])
    assert set(plan.configurations) == set(theirs["configurations"])
    for name, ours in plan.configurations.items():
        entry = theirs["configurations"][name]
        assert ours.previous == entry.get("previous_stage")
        if ours.previous is None:
            assert list(ours.patch_size[3 - ours.dimensions :]) == entry["patch_size"]
            assert ours.batch_size == entry["batch_size"]
            assert ours.uncapped_batch_size is None


@pytest.mark.parametrize(("configuration", "planned"), [("3d_fullres", 178), ("2d", 4554)])
def test_hippocampus_is_capped_at_a_twentieth_of_its_voxels(configuration: str, planned: int) -> None:
    """ResEnc L plans 178 patches; ours is nnU-Net's default planner's number, with theirs beside it."""
    task = FOLDER / "Dataset004_Hippocampus"
    files = task / "dataset_fingerprint.json", task / "dataset.json"
    theirs = plan_from_nnunet(*files, preset="resenc-l", as_nnunet=True)
    plan, default = plan_from_nnunet(*files, preset="resenc-l"), plan_from_nnunet(*files)
    assert isinstance(plan, Plan)
    assert isinstance(default, Plan)
    assert isinstance(theirs, dict)
    assert theirs["configurations"][configuration]["batch_size"] == planned
    assert plan.configuration(configuration).uncapped_batch_size == planned
    assert plan.configuration(configuration).batch_size == default.configuration(configuration).batch_size
    assert f"nnU-Net's {planned}" in plan.reasons[f"{configuration}.batch_size"]
