"""Plans that medseg wrote before: a change of a rule shows here, number by number.

``python -m tests.planning.test_golden`` writes the files anew after a change that is meant.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.core.fingerprint import Fingerprint
from medseg.core.plan import Plan
from medseg.planning import make_plan
from tests.planning.fingerprints import make_fingerprint

FOLDER = Path(__file__).parents[2] / "plans"
PRESETS = ("nnunet", "resenc-l", "cpu")


def make_fingerprints() -> dict[str, Fingerprint]:
    """Three small data sets: thick CT slices, isotropic MR, pictures."""
    steps = range(6)
    return {
        "ct_thick_slices": make_fingerprint(
            [(512, 512, 80 + 8 * n) for n in steps],
            [(0.7 + 0.02 * n, 0.7 + 0.02 * n, 2.0 + n) for n in steps],
            dataset="ct_thick_slices",
        ),
        "mr_isotropic": make_fingerprint(
            [(34 + n % 3, 48 + n, 35 + n % 2) for n in steps],
            [(1.0, 1.0, 1.0)] * 6,
            channels=("MR",),
            labels={"anterior": 1, "posterior": 2},
            dataset="mr_isotropic",
        ),
        "pictures": make_fingerprint(
            [(360, 256 + 16 * n, 1) for n in steps],
            [(1.0, 1.0, 1.0)] * 6,
            channels=("picture",),
            labels={"nuclei": 1},
            dataset="pictures",
        ),
    }


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", sorted(make_fingerprints()))
def test_plans_stay_as_they_were(name: str, preset: str) -> None:
    """The plan for the fingerprint in plans/ is the plan in plans/."""
    fingerprint = Fingerprint.read(FOLDER / f"{name}.fingerprint.json")
    assert fingerprint == make_fingerprints()[name]
    assert make_plan(fingerprint, preset=preset) == Plan.read(FOLDER / f"{name}.{preset}.json")


if __name__ == "__main__":
    for name, fingerprint in make_fingerprints().items():
        fingerprint.write(FOLDER / f"{name}.fingerprint.json")
        for preset in PRESETS:
            make_plan(fingerprint, preset=preset).write(FOLDER / f"{name}.{preset}.json")
