"""Where each scan of a patient lies in the space of the first one: as the files say, or by registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.grids.registration import Kind, Registration, register_scans
from medseg.shapes.components import find_components

Method = Literal["first_scan", "same_grid", "images", "masks", "not_registered"]

# Of the largest lesions of either scan, patterns of three are compared.
_MOST_CENTRES = 8
# Two patterns are alike where their sides differ by less; a lesion is found again where its centre comes so near.
# Centres move as lesions grow to one side (our choice).
_ALIKE_MM, _FOUND_MM = 4.0, 6.0
# Fewer lesions than a pattern may each have come, gone or moved: they cannot tell where the patient lies.
_LEAST_PATTERN = 3
# By how much of itself the metric must improve before scans of one grid are moved against one another (our choice).
_CLEARLY_BETTER = 0.02
# More than this is an organ or a large mass, whose own shape tells how the patient lies (our choice).
_ORGAN_ML = 100.0
_NO_BETTER = "no place is better than the files' own"
_FEW_LESIONS = "too few lesions to register by, and no images"


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a scan lies in the first scan's space.

    Args:
        matrix: 4x4, from the scan's world millimetres (RAS+) to the first scan's.
        method: ``first_scan``; ``same_grid`` (taken as aligned); registered by ``images`` or ``masks``;
            ``not_registered`` (world space as it is, for the reason).
        reason: why it was not registered; empty where there was no need.
        registration: how well, where it was.
        warnings: what makes the placement doubtful, a line each.
    """

    matrix: NDArray[np.float64]
    method: Method
    reason: str = ""
    registration: Registration | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the scan was placed, the files' own place being as good as any where that was looked at."""
        return self.method != "not_registered" or self.reason in ("", _NO_BETTER) or not self.warnings


@dataclass(frozen=True, eq=False)
class PatientScan:
    """A mask, and what reads the image that it was drawn on, where there is one."""

    mask: Segmentation
    read_image: Callable[[], Volume] | None


def place_scan(first: PatientScan, scan: PatientScan, labels: LabelScheme, kind: Kind = "rigid") -> Placement:
    """Bring a scan to the first one of the same patient.

    Args:
        first, scan: of one patient.
        labels: which values are lesions or organs.
        kind: ``rigid`` or ``affine``.
    Returns:
        the placement. Scans of one grid are taken as aligned where at least half of the lesions of the scan with fewer
        lie over one of the other's by half; else, and on different grids, they are registered by their images. Where
        an image is missing they are registered by their masks: on one grid only where a pattern of three lesions or
        more is found again, since fewer may have come and gone instead; on different grids with a warning where it is
        not and the masks are small, and not at all where small ones lie over one another as the files have it. Where
        nothing can be registered (an empty mask without image), or registration finds no place that is better than
        the files' own world space (clearly better, on one grid), that is kept.
    """
    same = scan.mask.geometry.same_grid(first.mask.geometry)
    if same and _lie_together(first.mask, scan.mask, labels):
        return Placement(np.eye(4), "same_grid")
    try:
        if first.read_image is not None and scan.read_image is not None:
            found = register_scans(_take_channel(first.read_image()), _take_channel(scan.read_image()), kind=kind)
            return _settle(found, "images", same=same)
        return _place_by_masks(first.mask, scan.mask, labels, kind, same=same)
    except MedsegError as error:
        return _leave(error.reason, same=same)


def _place_by_masks(
    first: Segmentation, scan: Segmentation, labels: LabelScheme, kind: Kind, *, same: bool
) -> Placement:
    starts = match_patterns(_find_centres(first, labels), _find_centres(scan, labels))
    small = min(_measure_ml(mask, labels) for mask in (first, scan)) < _ORGAN_ML
    if not starts and (same or (small and _lie_near(first, scan, labels))):
        return _leave(_FEW_LESIONS, same=same, doubtful=same)
    fixed, moving = (_show_mask(mask, labels) for mask in (first, scan))
    found = register_scans(fixed, moving, kind=kind, metric="correlation", starts=starts)
    doubts = () if starts or not small else (
        f"registered by masks with fewer than {_LEAST_PATTERN} lesions in common: one that came or went may be taken"
        " for one that moved; give images",
    )  # fmt: skip
    return _settle(found, "masks", same=same, doubts=doubts)


def _settle(found: Registration, method: Method, *, same: bool, doubts: tuple[str, ...] = ()) -> Placement:
    needed = _CLEARLY_BETTER * abs(found.before) if same and np.isfinite(found.before) else 0.0
    if found.before - found.after > needed:
        return Placement(found.matrix, method, registration=found, warnings=(*found.warnings, *doubts))
    return _leave(_NO_BETTER, same=same)


def _leave(reason: str, *, same: bool, doubtful: bool = True) -> Placement:
    # World space as the files have it: by agreement on one grid, for want of better on different ones.
    if same:
        doubts = (f"fewer than half of the lesions lie over one another; taken as aligned all the same: {reason}",)
        return Placement(np.eye(4), "same_grid", reason, warnings=doubts)
    warnings = (f"not registered to the first scan: {reason}",) if doubtful else ()
    return Placement(np.eye(4), "not_registered", reason, warnings=warnings)


def _take_channel(volume: Volume) -> Volume:
    return Volume(volume.array[:1], volume.geometry, volume.channels[:1])


def _measure_ml(mask: Segmentation, labels: LabelScheme) -> float:
    return float(np.count_nonzero(_find_inside(mask, labels)) * mask.geometry.voxel_volume_ml)


def _show_mask(mask: Segmentation, labels: LabelScheme) -> Volume:
    return Volume(_find_inside(mask, labels)[None].astype(np.float32), mask.geometry, ("mask",))


def _find_inside(mask: Segmentation, labels: LabelScheme) -> NDArray[np.bool_]:
    return np.asarray(np.isin(mask.array, labels.foreground))


def _lie_together(first: Segmentation, second: Segmentation, labels: LabelScheme) -> bool:
    # Whether at least half of the lesions of the scan with fewer share half of themselves, or of the other one, with
    # a lesion of the other scan. Both masks lie on one grid.
    numbers, counts = zip(*(find_components(_find_inside(mask, labels)) for mask in (first, second)), strict=True)
    own, other = numbers if counts[0] <= counts[1] else numbers[::-1]
    sizes, others = np.bincount(own.ravel(), minlength=2), np.bincount(other.ravel(), minlength=2)
    both = (own > 0) & (other > 0)
    pairs, shared = np.unique(np.stack([own[both], other[both]]), axis=1, return_counts=True)
    near = 2 * shared >= np.minimum(sizes[pairs[0]], others[pairs[1]])
    return bool(2 * len(np.unique(pairs[0][near])) >= min(counts))


def _lie_near(first: Segmentation, second: Segmentation, labels: LabelScheme) -> bool:
    # The same on different grids: whether half of the voxels of some lesion lie in the other mask, in world space.
    for asking, asked in ((first, second), (second, first)):
        numbers, count = find_components(_find_inside(asking, labels))
        voxels = np.argwhere(numbers)
        index = np.rint(asked.geometry.to_index(asking.geometry.to_world(voxels))).astype(np.int64)
        within = ((index >= 0) & (index < asked.array.shape)).all(axis=1)
        hit = np.zeros(len(voxels), bool)
        hit[within] = _find_inside(asked, labels)[tuple(index[within].T)]
        owner = numbers[tuple(voxels.T)]
        sizes, shared = (np.bincount(part, minlength=count + 1)[1:] for part in (owner, owner[hit]))
        if (2 * shared >= sizes).any():
            return True
    return False


def _find_centres(mask: Segmentation, labels: LabelScheme) -> NDArray[np.float64]:
    # The centres of the largest lesions, (lesion, 3), world millimetres.
    from scipy import ndimage

    numbers, count = find_components(_find_inside(mask, labels))
    if count == 0:
        return np.zeros((0, 3))
    listed = range(1, min(count, _MOST_CENTRES) + 1)
    index = ndimage.center_of_mass(numbers > 0, numbers, listed)  # type: ignore[attr-defined]
    return mask.geometry.to_world(np.array(index))


def match_patterns(fixed_mm: NDArray[np.float64], moving_mm: NDArray[np.float64]) -> Sequence[NDArray[np.float64]]:
    """The turn and shift after which most lesions' centres come to lie on one of the other scan's.

    Args:
        fixed_mm, moving_mm: centres of lesions, (lesion, 3), world millimetres.
    Returns:
        one 4x4 from moving to fixed world, the least turned of equally good ones; none where fewer than three lesions,
        or than half of those of the scan with fewer, can be brought together.
    """
    half = -(-min(len(fixed_mm), len(moving_mm)) // 2)
    best: tuple[int, float] = (max(_LEAST_PATTERN, half) - 1, 0.0)
    found: list[NDArray[np.float64]] = []
    triangles = [list(chosen) for chosen in combinations(range(len(moving_mm)), _LEAST_PATTERN)]
    for chosen in permutations(range(len(fixed_mm)), _LEAST_PATTERN):
        corners = fixed_mm[list(chosen)]
        for triangle in triangles:
            start = moving_mm[triangle]
            if np.abs(_measure_sides(corners) - _measure_sides(start)).max() > _ALIKE_MM:
                continue
            matrix = _fit_rigid(start, corners)
            moved = moving_mm @ matrix[:3, :3].T + matrix[:3, 3]
            gaps = np.linalg.norm(moved[:, None] - fixed_mm, axis=-1).min(axis=1)
            score = (int((gaps <= _FOUND_MM).sum()), float(np.trace(matrix[:3, :3])))
            if score > best:
                best, found = score, [matrix]
    return found


def _measure_sides(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1))


def _fit_rigid(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    # Kabsch, Acta Crystallogr A 1976;32:922-923: the least-squares rotation, mirrored never.
    middle, goal = points.mean(axis=0), targets.mean(axis=0)
    left, _, right = np.linalg.svd((points - middle).T @ (targets - goal))
    sign = np.sign(np.linalg.det(left @ right))
    turn = (left @ np.diag([1.0, 1.0, sign]) @ right).T
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, goal - turn @ middle
    return matrix
