"""What a score's definition says of surfaces: where they lie, what an element weighs, which percentile is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from medseg.core.errors import DatasetError, PlanError
from medseg.core.labels import LabelScheme

Definition = Literal["surfel", "voxel", "pooled"]
"""How surface metrics are defined.

``surfel``: elements between voxels, weighted by their area, and the larger of both directions' weighted percentiles
(the surface-distance package; Nikolov et al., J Med Internet Res 2021;23(7):e26151). ``voxel``: the mask's voxels with
a face to the outside, each counting the same, and the larger of both directions' interpolated percentiles (MONAI and
MetricsReloaded; Maier-Hein, Reinke et al., Nat Methods 2024;21:195-212). ``pooled``: the same voxels, the percentile
taken over both directions' distances together (MedPy).
"""

DEFAULT_DEFINITION: Definition = "surfel"
DEFAULT_TOLERANCE_MM = 1.0
OTHERS = ""  # stands for every label that tolerances do not name


def require_definition(name: str) -> Definition:
    """The definition of that name; raises PlanError for another one."""
    for known in get_args(Definition):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise PlanError(f"the definition {name!r} is none of {', '.join(get_args(Definition))}", code="bad_definition")


def settle_tolerances(labels: LabelScheme, asked: float | Mapping[str, float] | None = None) -> dict[str, float]:
    """How far each label's surface may lie off, for NSD.

    Args:
        labels: the names, with the tolerances that the data set states.
        asked: one number for all labels; or numbers by name, the name ``OTHERS`` for all that are not named; None for
            the data set's.
    Returns:
        name to millimetres: what was asked, else the data set's, else ``DEFAULT_TOLERANCE_MM``.
    Raises:
        DatasetError: a name that is no label, or a number that is negative or not finite.
    """
    wanted = asked if isinstance(asked, Mapping) else {} if asked is None else {OTHERS: asked}
    for name, value in wanted.items():
        if name not in labels.labels and name != OTHERS:
            raise DatasetError(
                f"a tolerance for {name!r}, the labels are {', '.join(labels.names)}", code="bad_tolerance",
                remedy="Write the label's name as it stands among the labels",
            )  # fmt: skip
        if not math.isfinite(value) or value < 0:
            raise DatasetError(f"the tolerance {value} is not a number of millimetres from 0 up", code="bad_tolerance")
    usual = {name: wanted.get(OTHERS, labels.tolerance_mm.get(name, DEFAULT_TOLERANCE_MM)) for name in labels.names}
    return {name: float(wanted.get(name, value)) for name, value in usual.items()}
