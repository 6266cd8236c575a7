"""Registration that is refused where nothing vouches for its result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.core.errors import GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.grids.registration.fields_of_view import Matrix
from medseg.grids.registration.search import Registration, challenge_turn, register_scans

# Registered either way round, no corner of the moving field of view may land further apart than this, or than a voxel
# of the coarser scan along its longest side (our choice: heads keep to 4 mm; thighs in CT with PET or MR, which may be
# off by several millimetres, lie 5 to 17 mm apart; scans of two patients or two regions 39 mm and more).
_MOST_DISAGREEMENT_MM, _MOST_DISAGREEMENT_VOXELS = 5.0, 1.0
# By how much of itself the metric must be better at another turn (our choice: with a head that lies turned over it is
# by a fifth, with the tests' nearly symmetric head by half a per cent).
_CLEARLY_BETTER = 0.05
_REMEDY = (
    "Look at both scans side by side: register them in a viewer and give them as NIfTI on one grid, or leave this one"
    " out"
)


@dataclass(frozen=True, eq=False)
class SureRegistration:
    """A registration that passed every check.

    Args:
        registration: from the moving to the fixed scan.
        disagreement_mm: how far a corner of the moving field of view lands from itself, at most, when it is brought to
            the fixed scan and back again by the registration the other way round.
    """

    registration: Registration
    disagreement_mm: float


def register_surely(fixed: Volume, moving: Volume) -> SureRegistration:
    """Register a scan rigidly to another one of the same patient, or refuse to.

    Args:
        fixed, moving: images of one channel each.
    Returns:
        the registration by mutual information.
    Raises:
        GeometryError: the scans cannot be registered at all; the result is no better than the two worlds taken for one;
            the fields of view share little or the scan is turned by more than a patient turns; registration the other
            way round finds another place; or turned over it fits better, so that one scan states another orientation
            than it has.
    Source: inverse consistency as a sign of failure: Christensen & Johnson, IEEE Trans Med Imaging 2001;20:568-582.
    """
    found = register_scans(fixed, moving)
    if found.warnings:
        raise _refuse("; ".join(found.warnings))
    if not found.after < found.before:
        raise _refuse(
            f"no place was found that is better than the two worlds taken for one (mutual information"
            f" {found.after:.3f}), which is no evidence for it"
        )
    disagreement = _measure_disagreement(register_scans(moving, fixed).matrix @ found.matrix, moving.geometry)
    coarser = max(*fixed.geometry.spacing_mm, *moving.geometry.spacing_mm)
    most = max(_MOST_DISAGREEMENT_MM, _MOST_DISAGREEMENT_VOXELS * coarser)
    if disagreement > most:
        raise _refuse(
            f"registered the other way round, points lie up to {disagreement:.1f} mm elsewhere, expected at most"
            f" {most:.1f} mm"
        )
    # Headers state how the patient lay, which speaks for the smaller turn: only what fits clearly better is against it.
    rival, degrees = challenge_turn(fixed, moving, found)
    if found.after - rival > _CLEARLY_BETTER * abs(found.after):
        raise _refuse(
            f"turned over by a further {degrees:.0f} degrees it fits better (mutual information {rival:.3f} instead of"
            f" {found.after:.3f}): one of the scans may state another orientation than it has"
        )
    return SureRegistration(found, disagreement)


def _measure_disagreement(there_and_back: Matrix, field: Geometry) -> float:
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in field.shape], indexing="ij")).reshape(3, -1).T
    world = field.to_world(corners)
    landed = world @ there_and_back[:3, :3].T + there_and_back[:3, 3]
    return float(np.linalg.norm(landed - world, axis=1).max())


def _refuse(reason: str) -> GeometryError:
    return GeometryError(f"its registration cannot be trusted: {reason}", code="untrusted_registration", remedy=_REMEDY)
