"""Lesions of a second study keep the names and identifiers of the first one's, wherever the patient lay."""

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.inference.folders.lesion_names import EarlierScan, LesionNames, name_lesions
from medseg.io.dicom.earlier import NamedLesions, StudyMoment

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})
OWNER = ("patient", "scan")
SHAPE = (48, 44, 24)
BALLS = (((12, 12, 12), 5), ((33, 14, 9), 4), ((20, 32, 15), 3), ((36, 33, 13), 2))


def make_geometry(shift_mm: tuple[float, float, float] = (0, 0, 0), angle: float = 0.0) -> Geometry:
    """A grid whose world is shifted and turned about k against the usual one."""
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ affine
    affine[:3, 3] += shift_mm
    return Geometry(SHAPE, affine)


def draw(balls: tuple[tuple[tuple[int, int, int], float], ...]) -> np.ndarray:
    grid, array = np.indices(SHAPE), np.zeros(SHAPE, np.uint8)
    for centre, radius in balls:
        away = grid - np.reshape(centre, (3, 1, 1, 1))
        array[(away**2).sum(axis=0) <= radius**2] = 2
    return array


def make_image(geometry: Geometry) -> Volume:
    i, j, k = np.indices(SHAPE)
    body = ((i - 24) / 22) ** 2 + ((j - 21) / 19) ** 2 + ((k - 12) / 11) ** 2 < 1
    spots = np.random.default_rng(3).normal(0, 1, SHAPE)
    from scipy import ndimage

    image = body * (100 + 600 * ndimage.gaussian_filter(spots, 2.5))
    return Volume(image[None].astype(np.float32), geometry, ("CT",))


def make_earlier(
    array: np.ndarray, geometry: Geometry, *, image: Volume | None = None, name: str = "first.seg.dcm"
) -> EarlierScan:
    from medseg.shapes.components import find_components

    numbers, count = find_components(array == 2)
    names = {number: (f"tumour-{number}", f"2.25.{100 + number}") for number in range(1, count + 1)}
    lesions = NamedLesions(Segmentation(numbers.astype(np.uint16), geometry), names)
    return EarlierScan(name, {"tumour": lesions}, None if image is None else lambda: image)


def follow(array: np.ndarray, geometry: Geometry, *earlier: EarlierScan) -> LesionNames:
    return name_lesions(Segmentation(array, geometry), LABELS, make_image(geometry), earlier, OWNER)


def list_names(found: LesionNames) -> dict[int, tuple[str, str]]:
    assert {lesion.label for lesion in found.lesions} == {"tumour"}
    return {lesion.instance: (lesion.lesion_id, lesion.tracking_uid) for lesion in found.lesions}


@pytest.mark.parametrize(("shift_mm", "angle"), [((0, 0, 0), 0.0), ((9.0, -6.0, 4.0), 0.12)])
def test_lesions_are_found_again_by_the_images(shift_mm: tuple[float, float, float], angle: float) -> None:
    usual = make_geometry()
    earlier = make_earlier(draw(BALLS), usual, image=make_image(usual))
    # The second largest is now the largest, the smallest is gone, one is new.
    second = draw((BALLS[0], ((33, 14, 9), 6), BALLS[2], ((10, 30, 10), 2)))
    found = follow(second, make_geometry(shift_mm, angle), earlier)
    names = list_names(found)
    assert [names[n] for n in (1, 2, 3)] == [
        ("tumour-2", "2.25.102"), ("tumour-1", "2.25.101"), ("tumour-3", "2.25.103"),
    ]  # fmt: skip
    assert names[4][0] == "tumour-5"
    assert names[4][1].startswith("2.25.")
    assert any("3 of 4 lesions go on" in note and "gone: tumour-4" in note for note in found.notes)


def test_without_an_image_masks_that_lie_over_one_another_will_do() -> None:
    earlier = make_earlier(draw(BALLS), make_geometry())
    names = list_names(follow(draw(BALLS[:3]), make_geometry((0.5, 0, 0)), earlier))
    assert [name for name, _ in names.values()] == ["tumour-1", "tumour-2", "tumour-3"]


def test_what_cannot_be_placed_is_not_followed() -> None:
    far = Geometry(SHAPE, make_geometry((2000.0, 0, 0)).affine)
    found = follow(
        draw(BALLS[:1]), far, make_earlier(draw(BALLS[2:3]), make_geometry(), image=make_image(make_geometry()))
    )
    if not found.lesions:
        assert any("cannot be placed" in note for note in found.notes)


def test_split_and_merged_lesions_are_said() -> None:
    usual = make_geometry()
    whole = draw((((14, 14, 12), 5), ((34, 30, 12), 5), ((34, 18, 12), 4)))
    split = whole.copy()
    split[14, :20, :] = 0  # the first in two
    split[34, 18:30, 12] = 2  # the other two in one
    names = list_names(found := follow(split, usual, make_earlier(whole, usual)))
    uids = [uid for _, uid in names.values()]
    assert len(set(uids)) == len(uids)
    assert {"2.25.101", "2.25.102", "2.25.103"} & set(uids)
    assert any("has split" in note for note in found.notes)
    assert any("has merged with" in note for note in found.notes)


def test_a_lesion_that_was_gone_for_a_while_gets_its_name_back() -> None:
    usual = make_geometry()
    first = make_earlier(draw(BALLS[:3]), usual)
    second = make_earlier(draw(BALLS[:2]), usual, name="second.seg.dcm")
    found = follow(draw(BALLS[:3]), usual, first, second)
    assert [name for name, _ in list_names(found).values()] == ["tumour-1", "tumour-2", "tumour-3"]
    assert any("second.seg.dcm" in note for note in found.notes)


def test_an_empty_mask_says_what_is_gone() -> None:
    usual = make_geometry()
    found = follow(np.zeros(SHAPE, np.uint8), usual, make_earlier(draw(BALLS[:2]), usual, image=make_image(usual)))
    assert found.lesions == []
    assert any("gone: tumour-1, tumour-2" in note for note in found.notes)


def test_earlier_means_known_to_be_earlier() -> None:
    assert StudyMoment("20240501", "").is_before(StudyMoment("20240502", ""))
    assert StudyMoment("20240501", "101500").is_before(StudyMoment("20240501", "101501"))
    for first, second in (
        (StudyMoment("20240501", ""), StudyMoment("20240501", "101500")),
        (StudyMoment("", ""), StudyMoment("20240501", "")),
        (StudyMoment("20240501", ""), StudyMoment("", "")),
        (StudyMoment("20240502", ""), StudyMoment("20240501", "")),
    ):
        assert not first.is_before(second)
