"""Which way the network sees patients, and which flips it may learn."""

import pytest

from medseg.core.geometry import match_axes
from medseg.core.labels import LabelScheme
from medseg.planning import make_plan
from medseg.planning.orientation import choose_mirroring, choose_orientation
from tests.planning.fingerprints import make_fingerprint

TUMOUR = LabelScheme.make({"tumour": 1})
KIDNEYS = LabelScheme.make({"left kidney": 1, "right kidney": 2})


def with_orientations(*codes: str):
    """A fingerprint of scans that lie so; the coarse axis runs along the body."""
    spacings = [tuple(3.0 if letter in "SI" else 1.0 for letter in code or "LPS") for code in codes]
    shapes = [tuple(40 if letter in "SI" else 120 for letter in code or "LPS") for code in codes]
    made = make_fingerprint(shapes, spacings)
    cases = tuple(case.model_copy(update={"orientation": code}) for case, code in zip(made.cases, codes, strict=True))
    return made.model_copy(update={"cases": cases})


def test_most_cases_decide() -> None:
    assert choose_orientation(with_orientations("LPS", "LPS", "RAS")) == "LPS"
    assert choose_orientation(with_orientations("LPS", "")) is None


def test_a_scan_stored_with_other_axes_counts_as_turned() -> None:
    usual = make_plan(with_orientations("LPS", "LPS", "LPS"))
    mixed = make_plan(with_orientations("LPS", "LPS", "PSR"))
    assert usual.orientation == mixed.orientation == "SPL"
    assert mixed.configurations == usual.configurations


LUNGS = LabelScheme.make({"lungs": [1, 2], "left lung": 1, "right lung": 2, "tumour": 3})
LUNG_TUMOURS = LabelScheme.make({"left lung": [1, 3], "right lung": [2, 3], "tumour": 3})
TORN = LabelScheme.make({"left lung": 1, "right lung": 2, "lesion": [1, 3]})


@pytest.mark.parametrize(
    ("orientation", "labels", "dimensions", "sides_only", "axes", "side"),
    [
        ("SPL", TUMOUR, 3, False, (0, 1, 2), None),
        ("SPL", TUMOUR, 3, True, (2,), None),
        ("SLP", TUMOUR, 3, True, (1,), None),
        (None, TUMOUR, 3, True, (0, 1, 2), None),
        ("LPS", TUMOUR, 2, True, (), None),
        ("SPL", KIDNEYS, 3, False, (0, 1, 2), 2),
        ("SPR", KIDNEYS, 3, False, (0, 1, 2), 2),
        ("SPL", KIDNEYS, 3, True, (2,), 2),
        ("SPL", KIDNEYS, 2, False, (1, 2), 2),
        ("LPS", KIDNEYS, 2, False, (1, 2), None),
        ("LPS", KIDNEYS, 2, True, (), None),
        (None, KIDNEYS, 3, False, (), None),
        ("SPL", LUNGS, 3, False, (0, 1, 2), 2),
        ("SPL", LUNG_TUMOURS, 3, False, (0, 1), None),
        ("SPL", LUNG_TUMOURS, 3, True, (), None),
        ("SPL", TORN, 3, False, (0, 1), None),
    ],
)
def test_mirroring(orientation, labels, dimensions, sides_only, axes, side) -> None:
    found = choose_mirroring(orientation, labels, dimensions=dimensions, flat=False, sides_only=sides_only)
    assert (found.axes, found.side_axis) == (axes, side)
    assert found.side_pairs == (() if side is None else ((1, 2),))
    assert found.reason.endswith(".")


def test_pictures_are_mirrored_along_both_axes() -> None:
    found = choose_mirroring("SAR", TUMOUR, dimensions=2, flat=True, sides_only=True)
    assert (found.axes, found.side_axis) == ((1, 2), None)


def test_the_plan_says_which_labels_change_places_and_prediction_leaves_the_sides() -> None:
    made = with_orientations("LPS", "LPS").model_copy(update={"labels": KIDNEYS})
    plan = make_plan(made)
    for name, first in (("3d_fullres", (0, 1)), ("2d", (1,))):
        training = plan.configuration(name).training
        assert (training.side_axis, training.side_pairs) == (2, ((1, 2),))
        assert training.prediction_axes == first
        assert "'left kidney' with 'right kidney' change places" in plan.reasons[f"{name}.mirror_axes"]


def test_the_cpu_preset_mirrors_sides_alone_and_says_why() -> None:
    plan = make_plan(with_orientations("LPS", "LPS"), preset="cpu")
    assert plan.configuration("3d_fullres").training.mirror_axes == (2,)
    assert "symmetric" in plan.reasons["3d_fullres.mirror_axes"]
    assert make_plan(with_orientations("LPS", "LPS")).configuration("3d_fullres").training.mirror_axes == (0, 1, 2)


def test_matching_axes() -> None:
    assert match_axes("LPS", "LPS") == ((0, 1, 2), (False, False, False))
    assert match_axes("RAS", "SPL") == ((2, 1, 0), (False, True, True))
