"""Modalities from intensities made by the rules of each modality."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.core.errors import DatasetError
from medseg.fingerprint import Modality, infer_modality, name_channels, name_labels

RANDOM = np.random.default_rng(5)
SHAPE = (40, 40, 20)


def make_body(air: float, fat: float, muscle: float, noise: float) -> NDArray[np.float64]:
    """A box of muscle in a box of fat in air, with noise."""
    image = np.full(SHAPE, air)
    image[5:-5, 5:-5] = fat
    image[10:-10, 10:-10] = muscle
    return image + RANDOM.normal(0, noise, SHAPE)


def make_padded_ct() -> NDArray[np.float64]:
    """A body that fills the view, padding outside it."""
    image = np.rint(make_body(0, -100, 50, 15))
    image[:4] = -2000
    return image


def make_pet() -> NDArray[np.float64]:
    """Faint background, a hot tumour."""
    image = RANDOM.gamma(2.0, 0.3, SHAPE)
    image[10:14, 10:14, 5:9] += 15
    return image


CASES = {
    "CT, whole numbers": (np.rint(make_body(-1000, -100, 50, 15)), "CT"),
    "CT, resampled": (make_body(-1000, -100, 50, 15), "CT"),
    "CT, padding": (make_padded_ct(), "CT"),
    "CT as int16": (make_body(-1000, -100, 50, 15).astype(np.int16), "CT"),
    "MR": (np.rint(np.abs(make_body(0, 900, 300, 20))), "MR"),
    "MR, ringing": (make_body(0, 900, 300, 3), "MR"),
    "MR, z-scored": (make_body(-1, 2, 0.5, 0.2), "MR"),
    "PET": (make_pet(), "PET"),
    "picture": (RANDOM.integers(0, 256, (64, 64, 1)).astype(np.uint8), "picture"),
    "CT without air": (np.rint(make_body(-100, -100, 50, 15)), None),
    "CT with 1024 added": (np.rint(make_body(20, 924, 1074, 10)).clip(0) + 900 * (RANDOM.random(SHAPE) < 0.01), None),
    "phase": (RANDOM.integers(-4096, 4096, SHAPE), None),
    "constant": (np.zeros(SHAPE), None),
    "NaN": (np.full(SHAPE, np.nan), None),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_modality_is_what_was_made(case: str) -> None:
    """None only where CT and others cannot be told apart; always with evidence."""
    image, expected = CASES[case]
    modality = infer_modality(np.asfortranarray(image))
    assert modality.name == expected, modality.evidence
    assert modality.evidence.endswith(".")


CT, MR, PET, UNCLEAR = (Modality(name, "Seen.") for name in ("CT", "MR", "PET", None))


@pytest.mark.parametrize(
    ("cases", "names"),
    [
        ([[CT], [CT], [UNCLEAR]], ("CT",)),
        ([[MR], [MR], [PET]], ("MR",)),
        ([[CT, PET], [CT, PET]], ("CT", "PET")),
        ([[MR, MR, PET], [MR, MR, MR], [MR, MR, PET]], ("MR_1", "MR_2", "PET")),
    ],
)
def test_channels_are_named_by_what_most_cases_show(cases: list[list[Modality]], names: tuple[str, ...]) -> None:
    """A scan without air among CTs is CT; MR taken for PET changes nothing; equals are numbered."""
    found, notes = name_channels(cases)
    assert found == names
    assert len(notes) == len(names)
    assert all("Seen." in note for note in notes)


@pytest.mark.parametrize("cases", [[[UNCLEAR]], [[MR], [UNCLEAR]], [[CT], [MR]]])
def test_an_unclear_modality_is_refused(cases: list[list[Modality]]) -> None:
    """Where the answer decides whether the channel is normalised as CT."""
    with pytest.raises(DatasetError) as caught:
        name_channels(cases)
    assert caught.value.code == "unclear_modality"
    assert "--channels" in str(caught.value)


@pytest.mark.parametrize("cases", [[], [[]], [[CT], [CT, PET]]])
def test_cases_need_the_same_channels(cases: list[list[Modality]]) -> None:
    """No case, no channel, or numbers that differ."""
    with pytest.raises(DatasetError, match="channels"):
        name_channels(cases)


def test_labels_are_named_by_their_values() -> None:
    """In ascending order, without the background."""
    scheme, note = name_labels([0, 255, 1, 0])
    assert scheme.labels == {"label_1": (1,), "label_255": (255,)}
    assert "label_255" in note


@pytest.mark.parametrize("values", [range(300), [0], []])
def test_values_that_cannot_be_classes_are_refused(values: list[int]) -> None:
    """Instance numbers or grey values; nothing at all."""
    with pytest.raises(DatasetError) as caught:
        name_labels(values)
    assert caught.value.remedy
