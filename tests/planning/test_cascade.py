"""When there is a low resolution, and what the cascade's second stage is."""

from __future__ import annotations

import math

import pytest

from medseg.core.plan import Plan
from medseg.planning import PRESETS, make_plan
from tests.planning.fingerprints import make_fingerprint

STAGES = ["3d_fullres", "3d_lowres", "3d_cascade_fullres"]


def plan_cube(edge: int, preset: str = "nnunet", cases: int = 30) -> Plan:
    """A plan for cubes of 1 mm voxels."""
    return make_plan(make_fingerprint([(edge,) * 3] * cases, [(1.0,) * 3] * cases), preset=preset)


def test_small_scans_have_no_low_resolution() -> None:
    """128 x 128 x 128 patches cover half of 160 x 160 x 160."""
    plan = plan_cube(160)
    assert list(plan.configurations) == ["2d", "3d_fullres"]
    assert not plan.configuration("3d_fullres").batch_dice
    assert plan.reasons["3d_fullres.batch_dice"].startswith("The Dice loss is taken patch by patch")


def test_a_low_resolution_that_hardly_saves_anything_is_left_out() -> None:
    """A patch of 2.1 million voxels of 13.8 million is 15 %: a quarter needs 1.7 times fewer voxels, not twice."""
    plan = plan_cube(240)
    assert list(plan.configurations) == ["2d", "3d_fullres"]
    assert "from 2 times on" in plan.reasons["3d_fullres.batch_dice"]


def test_large_scans_have_a_cascade() -> None:
    """400 x 400 x 400: the coarser spacing is a power of 1.03 at which a patch covers a quarter."""
    plan = plan_cube(400)
    assert list(plan.configurations) == ["2d", *STAGES]
    full, low, second = (plan.configuration(name) for name in STAGES)
    steps = math.log(low.spacing_mm[1]) / math.log(1.03)
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert 0.25 <= math.prod(low.patch_size) / math.prod(low.median_shape) < 0.28
    assert (full.batch_dice, low.batch_dice, second.batch_dice) == (True, False, True)
    assert (full.previous, low.previous, second.previous) == (None, None, "3d_lowres")
    same = {"name", "previous", "memory_gb"}
    assert second.model_dump(exclude=same) == full.model_dump(exclude=same)
    assert second.memory_gb > full.memory_gb  # two more channels: organ and tumour
    assert "masks of 3d_lowres" in plan.reasons["3d_cascade_fullres.previous"]


def test_thick_slices_grow_coarser_within_the_slice_first() -> None:
    """0.7 x 0.7 x 4 mm: the slices stay 4 mm thick until the pixels are 2 mm."""
    low = make_plan(make_fingerprint([(512, 512, 200)] * 9, [(0.7, 0.7, 4.0)] * 9)).configuration("3d_lowres")
    assert low.spacing_mm[0] == 4.0
    assert 0.7 < low.spacing_mm[1] < 2.0


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_gpu_preset_has_its_own_trigger_and_the_cpu_preset_none(preset: str) -> None:
    """What a preset's patch covers decides; two cores have one network that sees enough."""
    plan = plan_cube(600, preset)
    expected = ["2d", "3d_fullres"] if preset == "cpu" else ["2d", *STAGES]
    assert list(plan.configurations) == expected
    patch = math.prod(plan.configuration("3d_fullres").patch_size)
    halved = plan_cube(round((patch * 6) ** (1 / 3)), preset)
    assert ("3d_lowres" in halved.configurations) == (
        patch / math.prod(halved.configuration("2d").median_shape) < 0.125
    )


def test_residual_presets_keep_what_nnunet_plans_beside_our_cap() -> None:
    """Five cases of 128 cubed: 5 % of their voxels are a quarter of a patch, so two patches."""
    plan = plan_cube(64, "resenc-l", cases=5)
    configuration = plan.configuration("3d_fullres")
    assert configuration.batch_size == 2
    assert configuration.uncapped_batch_size == 5
    assert "nnU-Net's 5" in plan.reasons["3d_fullres.batch_size"]
    assert "5 % of the data set's voxels at most" in plan.reasons["3d_fullres.batch_size"]
    assert plan_cube(64, cases=5).configuration("3d_fullres").uncapped_batch_size is None


def test_presets_have_their_own_memory_target() -> None:
    """8; 8, 24, 40 GB; another one where it is given."""
    targets = [plan_cube(160, preset).target for preset in ("nnunet", "resenc-m", "resenc-l", "resenc-xl")]
    assert targets == [f"GPU with {gb} GB" for gb in (8, 8, 24, 40)]
    given = make_plan(make_fingerprint([(160,) * 3] * 9, [(1.0,) * 3] * 9), preset="resenc-l", gpu_memory_gb=11)
    assert given.target == "GPU with 11 GB"
