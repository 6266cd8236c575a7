"""Which way the network sees patients, and which flips it may learn."""

import pytest

from medseg.core.geometry import match_axes
from medseg.core.labels import LabelScheme
from medseg.planning import make_plan
from medseg.planning.orientation import choose_mirror_axes, choose_orientation
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


@pytest.mark.parametrize(
    ("orientation", "labels", "flat", "sides_only", "axes"),
    [
        ("SPL", TUMOUR, False, False, (0, 1, 2)),
        ("SPL", TUMOUR, False, True, (2,)),
        ("SLP", TUMOUR, False, True, (1,)),
        (None, TUMOUR, False, True, (0, 1, 2)),
        ("SPL", KIDNEYS, False, False, (0, 1)),
        ("SPL", KIDNEYS, False, True, ()),
        (None, KIDNEYS, False, False, ()),
        ("SAR", TUMOUR, True, True, (1, 2)),
    ],
)
def test_mirror_axes(orientation, labels, flat, sides_only, axes) -> None:
    found, reason = choose_mirror_axes(orientation, labels, flat=flat, sides_only=sides_only)
    assert found == axes
    assert reason.endswith(".")


def test_the_cpu_preset_mirrors_sides_alone_and_says_why() -> None:
    plan = make_plan(with_orientations("LPS", "LPS"), preset="cpu")
    assert plan.configuration("3d_fullres").training.mirror_axes == (2,)
    assert "symmetric" in plan.reasons["3d_fullres.mirror_axes"]
    assert make_plan(with_orientations("LPS", "LPS")).configuration("3d_fullres").training.mirror_axes == (0, 1, 2)


def test_matching_axes() -> None:
    assert match_axes("LPS", "LPS") == ((0, 1, 2), (False, False, False))
    assert match_axes("RAS", "SPL") == ((2, 1, 0), (False, True, True))
