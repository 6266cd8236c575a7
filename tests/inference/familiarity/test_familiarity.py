"""Scans like those of the training pass in silence; scans of another kind are told, with value and range."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medseg.core.dataset import Case, Dataset
from medseg.core.fingerprint import Fingerprint
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.fingerprint import extract_fingerprint, summarise_case
from medseg.inference.familiarity import describe_familiar, familiar_from_nnunet, find_unfamiliar

LABELS = LabelScheme.make({"organ": 1})
SPACING_MM = (0.9, 0.9, 5.0)
LPS = np.diag([-1.0, -1.0, 1.0])


def make_mr(seed: int = 0, shape: tuple[int, ...] = (48, 40, 24)) -> NDArray[np.int16]:
    """A bright body in faint noise."""
    random = np.random.default_rng(seed)
    image = np.abs(random.normal(0, 6, shape))
    inside = tuple(slice(n // 6, -n // 6) for n in shape)
    image[inside] = random.normal(300 + 20 * (seed % 5), 60, image[inside].shape)
    return image.clip(0).round().astype(np.int16)


def make_ct(seed: int = 0, shape: tuple[int, ...] = (48, 40, 24)) -> NDArray[np.int16]:
    """Soft tissue in air, with a little bone."""
    random = np.random.default_rng(seed)
    image = random.normal(-1000, 10, shape).clip(-1024)
    inside = tuple(slice(n // 6, -n // 6) for n in shape)
    image[inside] = random.normal(40, 30, image[inside].shape)
    image[tuple(slice(n // 3, n // 2) for n in shape)] = 700
    return image.round().astype(np.int16)


def make_volume(
    array: NDArray[Any], spacing_mm: tuple[float, ...] = SPACING_MM, name: str = "T1", turn: NDArray[Any] = LPS
) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing_mm
    return Volume(array[None], Geometry(array.shape, affine), (name,))


def train(volumes: list[Volume]) -> Fingerprint:
    """The fingerprint of scans whose middle is labelled."""
    summaries = []
    for number, volume in enumerate(volumes):
        mask = np.zeros(volume.geometry.shape, np.uint8)
        mask[tuple(slice(n // 3, n - n // 3) for n in mask.shape)] = 1
        summaries.append(summarise_case(Case(f"c{number}", ()), volume, Segmentation(mask, volume.geometry), LABELS))
    return extract_fingerprint(Dataset(Path(), "made up", "test", (), volumes[0].channels, LABELS), summaries)


def translate(fingerprint: Fingerprint) -> dict[str, Any]:
    """The fingerprint as nnU-Net would write it: axes k, j, i, and labelled voxels alone."""
    return {
        "spacings": [case.spacing_mm[::-1] for case in fingerprint.cases],
        "shapes_after_crop": [case.cropped_shape[::-1] for case in fingerprint.cases],
        "foreground_intensity_properties_per_channel": {
            str(number): {
                "min": each.minimum, "max": each.maximum, "mean": each.mean, "median": each.median, "std": each.sd,
                "percentile_00_5": each.percentile_00_5, "percentile_99_5": each.percentile_99_5,
            }
            for number, each in enumerate(fingerprint.intensities)
        },
        "median_relative_size_after_cropping": 1.0,
    }  # fmt: skip


MR = train([make_volume(make_mr(seed, (48 + seed, 40, 24 + 2 * seed))) for seed in range(6)])
CT = train([make_volume(make_ct(seed), name="CT") for seed in range(6)])
OURS, THEIRS = describe_familiar(MR), familiar_from_nnunet(translate(MR))
CT_OURS, CT_THEIRS = describe_familiar(CT), familiar_from_nnunet(translate(CT))
BOTH = pytest.mark.parametrize("familiar", [OURS, THEIRS], ids=["medseg", "nnU-Net"])
BOTH_CT = pytest.mark.parametrize("familiar", [CT_OURS, CT_THEIRS], ids=["medseg", "nnU-Net"])


def only(sentences: list[str]) -> str:
    assert len(sentences) == 1, sentences
    assert sentences[0].endswith(".")
    assert "\n" not in sentences[0]
    return sentences[0]


@BOTH
@given(
    seed=st.integers(0, 10_000),
    zoom=st.floats(0.7, 1.4),
    brightness=st.floats(0.4, 2.5),
    shape=st.tuples(st.integers(40, 60), st.integers(32, 50), st.integers(18, 36)),
)
def test_scans_of_the_same_kind_pass(familiar: Any, seed: int, zoom: float, brightness: float, shape: Any) -> None:
    array = (make_mr(seed, shape) * brightness).astype(np.float32)
    spacing = tuple(value * zoom for value in SPACING_MM)
    assert find_unfamiliar(make_volume(array, spacing), familiar) == []


@BOTH_CT
@pytest.mark.parametrize("seed", range(10, 15))
def test_ct_passes_for_ct(familiar: Any, seed: int) -> None:
    assert find_unfamiliar(make_volume(make_ct(seed), name="CT"), familiar) == []
    padded = make_ct(seed)
    padded[:4] = -3024  # what a scanner writes outside its field of view
    assert find_unfamiliar(make_volume(padded, name="CT"), familiar) == []
    inside = make_ct(seed)[12:36, 8:32, 5:19]  # a crop without any air
    assert [text for text in find_unfamiliar(make_volume(inside, name="CT"), familiar) if "CT" in text] == []


@BOTH
def test_spacing_ten_times_as_coarse(familiar: Any) -> None:
    spacing, size = find_unfamiliar(make_volume(make_mr(), (9.0, 9.0, 50.0)), familiar)
    assert spacing == (
        "Unusual spacing: 9 mm along i (left-right), in training 0.9 mm; 9 mm along j (back-front), in training "
        "0.9 mm; 50 mm along k (foot-head), in training 5 mm."
    )
    assert size.startswith("Unusual size: 432 mm in 48 voxels along i (left-right), in training 43.2 to 47.7 mm in 48")


@BOTH
def test_one_thick_slice(familiar: Any) -> None:
    text = only(find_unfamiliar(make_volume(make_mr(shape=(48, 40, 8))), familiar))
    assert text == (
        "Unusual size: 40 mm in 8 voxels along k (foot-head), in training 120 to 170 mm in 24 to 34 voxels."
    )


@BOTH
@pytest.mark.parametrize("turn", [turn for turn in itertools.permutations(range(3)) if turn[2] != 2])
def test_slices_of_another_direction(familiar: Any, turn: tuple[int, int, int]) -> None:
    # The same voxels with their axes in another order, in a file that says so.
    array = make_mr().transpose(turn)
    volume = make_volume(array, tuple(SPACING_MM[axis] for axis in turn), turn=LPS[:, list(turn)])
    text = next(text for text in find_unfamiliar(volume, familiar) if "order of axes" in text)
    coarse = "ijk"[turn.index(2)]
    assert f", {coarse} the scan would be like" in text
    assert "in training 0.9 x 0.9 x 5 mm" in text


@BOTH
@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_intensities_in_another_unit(familiar: Any, factor: float) -> None:
    text = only(find_unfamiliar(make_volume(make_mr() * factor), familiar))
    assert text.startswith("Unusual intensities in channel T1: 99 % of what is not zero lies from ")
    assert "in training" in text


@BOTH_CT
def test_ct_without_its_offset(familiar: Any) -> None:
    text = only(find_unfamiliar(make_volume(make_ct() + np.int16(1024), name="CT"), familiar))
    assert "Unusual intensities in channel CT: none is below 0" in text
    assert "HU" in text


@BOTH_CT
def test_mr_for_ct(familiar: Any) -> None:
    assert "none is below 0" in only(find_unfamiliar(make_volume(make_mr(), name="CT"), familiar))


@BOTH
def test_ct_for_mr(familiar: Any) -> None:
    text = only(find_unfamiliar(make_volume(make_ct()), familiar))
    assert "channel T1: this looks like CT (" in text


@BOTH
def test_empty_scans(familiar: Any) -> None:
    assert only(find_unfamiliar(make_volume(np.zeros((48, 40, 24), np.int16)), familiar)) == (
        "Channel T1 is 0 everywhere."
    )


def test_a_bone_or_a_lesion_brighter_than_anything_labelled_is_no_alarm() -> None:
    array = make_mr()
    array[10:14, 10:14, 6:10] = 2000
    for familiar in (OURS, THEIRS):
        assert familiar is not None
        assert find_unfamiliar(make_volume(array), familiar) == []


def test_directions_matter_where_axes_are_taken_as_they_come() -> None:
    ras = make_volume(make_mr(), turn=np.eye(3))
    text = only(find_unfamiliar(ras, OURS))
    assert text == (
        "Unusual directions of axes: i, j, k run to RAS, in training to LPS; this model takes them as they come."
    )
    assert find_unfamiliar(ras, describe_familiar(MR, mirrored_axes=(0, 1, 2))) == []
    assert find_unfamiliar(ras, describe_familiar(MR, mirrored_axes=(0,))) != []
    assert find_unfamiliar(ras, describe_familiar(MR, orientation="LPS")) == []


@pytest.mark.parametrize("wanted", ["LPS", "SPL", "RAI"])
def test_turned_scans_are_compared_along_the_body(wanted: str) -> None:
    familiar = describe_familiar(MR, orientation=wanted)
    for turn in itertools.permutations(range(3)):
        volume = make_volume(
            make_mr().transpose(turn), tuple(SPACING_MM[axis] for axis in turn), turn=LPS[:, list(turn)]
        )
        assert find_unfamiliar(volume, familiar) == []
    sagittal = make_volume(make_mr(shape=(24, 40, 48)), SPACING_MM[::-1])
    assert "order of axes" in only(find_unfamiliar(sagittal, familiar))


def test_the_content_counts_not_the_zeros_around_it() -> None:
    array = np.zeros((200, 180, 100), np.int16)
    array[90:138, 70:110, 40:64] = make_mr() + 1
    assert find_unfamiliar(make_volume(array), OURS) == []
    array += 1
    assert any("Unusual size" in text for text in find_unfamiliar(make_volume(array), OURS))


def test_pictures() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(1, 256, (60 + n, 80, 1)).astype(np.uint8) for n in range(3)]
    fingerprint = train([make_volume(array, (1.0, 1.0, 1.0), turn=np.eye(3)) for array in pictures])
    content = translate(fingerprint) | {"spacings": [(999.0, 1.0, 1.0)] * 3, "shapes_after_crop": [(1, 61, 80)] * 3}
    theirs = familiar_from_nnunet(content, axes=(2, 0, 1))
    assert theirs is not None
    assert theirs.spacing_mm[2] is None
    for familiar in (describe_familiar(fingerprint), theirs):
        assert find_unfamiliar(make_volume(pictures[0], (1.0, 1.0, 1.0), turn=np.eye(3)), familiar) == []
        small = make_volume(pictures[0][:12], (1.0, 1.0, 1.0), turn=np.eye(3))
        assert "12 voxels along i (rows)" in only(find_unfamiliar(small, familiar))


def test_every_channel_has_its_own_range() -> None:
    fingerprint = CT.model_copy(
        update={"channels": ("CT", "T1"), "intensities": (CT.intensities[0], MR.intensities[0])}
    )
    familiar = familiar_from_nnunet(translate(fingerprint))
    assert familiar is not None
    array = np.stack([make_ct(), make_mr()])
    grid = make_volume(make_ct()).geometry
    assert find_unfamiliar(Volume(array, grid, ("CT", "T1")), familiar) == []
    swapped = find_unfamiliar(Volume(array[::-1], grid, ("CT", "T1")), familiar)
    assert [text.partition(":")[0] for text in swapped] == [
        "Unusual intensities in channel CT", "Unusual intensities in channel T1"
    ]  # fmt: skip


def test_the_same_training_data_told_by_nnunet() -> None:
    assert THEIRS is not None
    assert THEIRS.spacing_mm == OURS.spacing_mm
    assert THEIRS.size_voxels == OURS.size_voxels
    assert THEIRS.size_mm == OURS.size_mm
    assert THEIRS.channels[0].foreground == OURS.channels[0].foreground
    assert THEIRS.channels[0].width is None
    assert familiar_from_nnunet(translate(MR), orientation="RAS").orientation == "RAS"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        {"spacings": []},
        {"spacings": [(1.0, 1.0)]},
        {"spacings": None},
        {"spacings": [(1.0, 1.0, float("nan"))] * 6},
        {"shapes_after_crop": [(1, 1, float("inf"))] * 6},
        {"shapes_after_crop": [("a", 1, 1)] * 6},
        {"shapes_after_crop": [(9, 9, 9)] * 4},
        {"foreground_intensity_properties_per_channel": {"0": {}}},
        {"foreground_intensity_properties_per_channel": {"1": {}}},
        {"foreground_intensity_properties_per_channel": []},
    ],
)
def test_a_damaged_fingerprint_of_nnunet_tells_nothing(change: dict[str, Any]) -> None:
    content = translate(MR) | change
    found = familiar_from_nnunet(content)
    assert found is None or (found.channels == () and "foreground_intensity_properties_per_channel" in change)
    assert familiar_from_nnunet({}) is None


def test_old_fingerprints_know_labelled_voxels_alone() -> None:
    cases = tuple(case.model_copy(update={"intensities": (), "orientation": ""}) for case in MR.cases)
    familiar = describe_familiar(MR.model_copy(update={"cases": cases}))
    assert familiar.channels[0].width is None
    assert familiar.orientations == ()
    assert find_unfamiliar(make_volume(make_mr()), familiar) == []
