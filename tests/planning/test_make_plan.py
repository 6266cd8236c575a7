"""Plans of made-up data sets: rules that hold for all, presets, refusals."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import PlanError
from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Configuration, Plan
from medseg.planning import PRESETS, explain_plan, make_plan
from medseg.planning.cost import predict_step_seconds
from medseg.planning.cpu import STEP_SECONDS
from tests.planning.fingerprints import make_fingerprint

PHANTOM_CT = make_fingerprint(
    [(96, 96, 40), (96, 96, 44), (96, 90, 60), (90, 96, 52)],
    [(2.0, 2.0, 4.0), (1.8, 1.8, 4.5), (2.2, 2.2, 3.0), (2.0, 2.0, 3.5)],
)


@st.composite
def fingerprints(draw: st.DrawFn) -> Fingerprint:
    """Data sets of 1 to 8 cases, isotropic or not, pictures too, in any axis order."""
    base = draw(st.tuples(*[st.floats(0.4, 6.0)] * 3))
    count = draw(st.integers(1, 8))
    flat = draw(st.booleans()) and draw(st.booleans())
    edges = st.tuples(st.integers(24, 300), st.integers(24, 300), st.just(1) if flat else st.integers(12, 200))
    shapes = draw(st.lists(edges, min_size=count, max_size=count))
    factors = draw(st.lists(st.floats(0.8, 1.25), min_size=count, max_size=count))
    order = (0, 1, 2) if flat else draw(st.permutations((0, 1, 2)))
    return make_fingerprint(
        [tuple(shape[axis] for axis in order) for shape in shapes],
        [tuple(base[axis] * factor for axis in order) for factor in factors],
        channels=draw(st.sampled_from([("CT",), ("MR",), ("CT", "PET")])),
        cropped_share=draw(st.floats(0.1, 1.0)),
    )


def divisors(configuration: Configuration) -> tuple[int, ...]:
    """The product of the strides per axis."""
    return tuple(math.prod(steps) for steps in zip(*configuration.network.strides, strict=True))


@settings(deadline=None, max_examples=40)
@given(fingerprints(), st.sampled_from(list(PRESETS)))
def test_every_plan_can_be_built(fingerprint: Fingerprint, preset: str) -> None:
    """Patches divide, fit the median case padded, batches are 2 or more, each choice has its reason."""
    plan = make_plan(fingerprint, preset=preset)
    flat = all(case.shape[2] == 1 for case in fingerprint.cases)
    assert sorted(plan.axis_order) == [0, 1, 2]
    assert ("3d_fullres" in plan.configurations) != flat
    for name, configuration in plan.configurations.items():
        patch = configuration.patch_size[3 - configuration.dimensions :]
        median = configuration.median_shape[3 - configuration.dimensions :]
        network = configuration.network
        for size, divisor, whole in zip(patch, divisors(configuration), median, strict=True):
            assert size % divisor == 0
            assert size < whole + 1 + divisor
            assert size // divisor >= min(4, whole)
        assert configuration.batch_size >= 2
        assert configuration.patch_size[: 3 - configuration.dimensions] == (1,) * (3 - configuration.dimensions)
        assert (configuration.spacing_mm[0] is None) == (configuration.dimensions == 2)
        stages = len(network.features)
        assert len(network.strides) == len(network.kernels) == len(network.convolutions) == stages
        assert len(network.decoder_convolutions) == stages - 1
        assert configuration.memory_gb > 0
        for field in ("spacing_mm", "patch_size", "batch_size", "batch_dice", "normalisation", "network", "training"):
            assert plan.reasons[f"{name}.{field}"].endswith(".")
    assert Plan.parse(plan.model_dump(mode="json")) == plan


@settings(deadline=None, max_examples=40)
@given(fingerprints())
def test_the_cpu_preset_keeps_its_time(fingerprint: Fingerprint) -> None:
    """1500 steps in 13 minutes by the cost model; spacing never finer than asked for by the data; a useful patch."""
    full, plan = make_plan(fingerprint), make_plan(fingerprint, preset="cpu")
    assert plan.axis_order == full.axis_order
    for name, configuration in plan.configurations.items():
        patch = configuration.patch_size[3 - configuration.dimensions :]
        channels, outputs = len(plan.channels), len(plan.labels.names) + 1
        step = predict_step_seconds(configuration.network, patch, configuration.batch_size, channels, outputs)
        assert step <= STEP_SECONDS
        reference = full.configuration(name)
        assert configuration.normalisation == reference.normalisation
        for ours, theirs in zip(configuration.spacing_mm, reference.spacing_mm, strict=True):
            assert ours == theirs or (ours is not None and theirs is not None and ours > theirs)
        if configuration.dimensions == 3:
            assert math.prod(configuration.median_shape) <= 4.4 * math.prod(patch)  # 4, and rounding of small shapes


def test_more_memory_never_shrinks_the_patch() -> None:
    """4, 8, 16, 32 GB."""
    fingerprint = make_fingerprint([(300, 300, 200)] * 20, [(0.8, 0.8, 1.5)] * 20)
    patches = [
        math.prod(make_plan(fingerprint, gpu_memory_gb=gb).configuration("3d_fullres").patch_size)
        for gb in (4, 8, 16, 32)
    ]
    assert patches == sorted(patches)
    assert len(set(patches)) == 4


def test_a_phantom_ct_on_two_cores() -> None:
    """A patch that covers a good part of 96 x 96 x 50 voxels, at the data's own spacing, with AdamW and averaging."""
    configuration = make_plan(PHANTOM_CT, preset="cpu").configuration("3d_fullres")
    assert configuration.spacing_mm == (3.75, 2.0, 2.0)
    assert configuration.patch_size == (40, 64, 64)
    assert configuration.network.features == (16, 32, 64, 128, 128)
    assert configuration.training.optimiser == "adamw"
    assert 0.99 <= configuration.training.ema_decay < 0.999


@pytest.mark.parametrize("length", [257, 2000])
def test_long_narrow_slices_are_planned_for_two_cores(length: int) -> None:
    """A small patch is no fault where the slices themselves are small."""
    plan = make_plan(make_fingerprint([(24, length, 12)] * 3, [(2.0, 1.0, 1.0)] * 3), preset="cpu")
    assert plan.configuration("2d").patch_size == (1, 12, 256)


def test_pictures_get_2d_alone() -> None:
    """One voxel along k: 2D only, slices across k, whatever spacing k has."""
    plan = make_plan(make_fingerprint([(256, 200, 1)] * 9, [(0.5, 0.5, 0.1)] * 9, channels=("picture",)))
    assert list(plan.configurations) == ["2d"]
    assert plan.axis_order == (2, 1, 0)
    assert plan.configuration("2d").spacing_mm == (None, 0.5, 0.5)
    assert plan.configuration("2d").median_shape == (1, 200, 256)


@pytest.mark.parametrize(
    ("wanted", "order", "spacing"),
    [((2.0,), (2, 1, 0), (2.0, 2.0, 2.0)), ((1.0, 4.0, 2.0), (1, 2, 0), (4.0, 2.0, 1.0))],
)
def test_a_wanted_spacing_decides(
    wanted: tuple[float, ...], order: tuple[int, int, int], spacing: tuple[float, ...]
) -> None:
    """One number for all axes or three along i, j, k; the axis order follows it."""
    plan = make_plan(make_fingerprint([(120, 120, 120)] * 4, [(1.0, 1.0, 1.0)] * 4), spacing_mm=wanted)
    assert plan.axis_order == order
    assert plan.configuration("3d_fullres").spacing_mm == spacing
    assert "asked for" in plan.reasons["3d_fullres.spacing_mm"]


def test_isotropic_spacing_keeps_the_number_of_voxels() -> None:
    """The cube root of 0.8 x 0.8 x 2.7 mm; of pictures the root of the pixel's area."""
    plan = make_plan(make_fingerprint([(200, 200, 60)] * 4, [(0.8, 0.8, 2.7)] * 4), spacing_mm="isotropic")
    assert plan.configuration("3d_fullres").spacing_mm == pytest.approx((1.2, 1.2, 1.2))
    assert plan.configuration("3d_fullres").median_shape == (135, 133, 133)
    assert "equal edges" in plan.reasons["3d_fullres.spacing_mm"]
    pictures = make_plan(make_fingerprint([(256, 200, 1)] * 4, [(0.9, 0.4, 7.0)] * 4), spacing_mm="isotropic")
    assert pictures.configuration("2d").spacing_mm == pytest.approx((None, 0.6, 0.6))


def test_a_window_clips_ct_alone() -> None:
    """Mean and sd stay the foreground's; without CT it is refused."""
    shapes, spacings = [(96, 96, 60)] * 4, [(1.0, 1.0, 1.0)] * 4
    both = make_fingerprint(shapes, spacings, channels=("CT", "PET"))
    ours, usual = (make_plan(both, window_hu=window).configuration("3d_fullres") for window in ((-160, 240), None))
    assert (ours.normalisation[0].low, ours.normalisation[0].high) == (-160, 240)
    assert ours.normalisation[0].model_copy(update={"low": -40.0, "high": 160.0}) == usual.normalisation[0]
    assert ours.normalisation[1] == usual.normalisation[1]
    assert "as asked for" in make_plan(both, window_hu=(-160, 240)).reasons["2d.normalisation"]
    with pytest.raises(PlanError, match="none is CT"):
        make_plan(make_fingerprint(shapes, spacings, channels=("MR",)), window_hu=(0, 80))


def test_a_rod_has_no_slices_to_train_on() -> None:
    """5 x 9 voxels across the coarsest axis cannot be pooled, 24 x 9 along it can; 8 alone nowhere."""
    plan = make_plan(make_fingerprint([(9, 5, 24)] * 4, [(1.0, 1.2, 1.5)] * 4))
    assert list(plan.configurations) == ["3d_fullres"]
    assert plan.reasons["configurations"].startswith("No 2d")
    with pytest.raises(PlanError, match="too small"):
        make_plan(make_fingerprint([(24, 24, 8)] * 4, [(2.0, 2.0, 1.0)] * 4))


@pytest.mark.parametrize(
    ("settings_given", "code"),
    [
        ({"preset": "resnet"}, "plan"),
        ({"gpu_memory_gb": 0.0}, "bad_memory"),
        ({"gpu_memory_gb": math.nan}, "bad_memory"),
        ({"gpu_memory_gb": 1e-5}, "target_too_small"),
        ({"spacing_mm": (1.0, 1.0)}, "bad_spacing"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "bad_spacing"),
        ({"spacing_mm": (1.0, math.inf, 1.0)}, "bad_spacing"),
        ({"spacing_mm": (0.01,)}, "bad_spacing"),
        ({"spacing_mm": "coarse"}, "bad_spacing"),
        ({"window_hu": (100.0, -100.0)}, "bad_window"),
        ({"window_hu": (100.0,)}, "bad_window"),
        ({"window_hu": (-math.inf, 100.0)}, "bad_window"),
        ({"spacing_mm": (100.0,)}, "scans_too_small"),
    ],
)
def test_bad_settings_are_refused_with_a_remedy(settings_given: dict[str, object], code: str) -> None:
    """Each with what to do instead."""
    with pytest.raises(PlanError) as caught:
        make_plan(PHANTOM_CT, **settings_given)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.remedy


def test_no_case_is_refused() -> None:
    """An empty fingerprint."""
    with pytest.raises(PlanError, match="no case"):
        make_plan(make_fingerprint([], []))


def test_many_labels_narrow_the_cpu_network_and_too_many_are_refused() -> None:
    """Logits of hundreds of labels cost more than the network; two cores cannot train them at any width."""
    shapes, spacings = [(200, 200, 200)] * 3, [(1.0, 1.0, 1.0)] * 3
    labels = {f"label_{value}": value for value in range(1, 5000)}
    with pytest.raises(PlanError, match="two cores"):
        make_plan(make_fingerprint(shapes, spacings, labels=labels), preset="cpu")


def test_the_explanation_says_every_reason() -> None:
    """A line per reason, under its configuration."""
    plan = make_plan(PHANTOM_CT)
    text = explain_plan(plan)
    assert all(reason in text for reason in plan.reasons.values())
    assert len(text.splitlines()) == 1 + len(plan.configurations) + len(plan.reasons)


def test_presets_are_listed() -> None:
    """The table holds what is built, no more."""
    assert list(PRESETS) == ["nnunet", "resenc-m", "resenc-l", "resenc-xl", "cpu"]


def test_planning_never_loads_torch() -> None:
    """Fingerprints and plans are made without it."""
    code = (
        "import sys, medseg.planning, medseg.fingerprint; sys.exit('torch' in sys.modules or 'nibabel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
