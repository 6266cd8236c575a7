"""Lesions found and missed, by volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

STRATA_ML = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.0), (1.0, float("inf")))


@dataclass
class Counts:
    """Volumes, in ml, of lesions that were found, missed, and seen where there are none."""

    found: list[float] = field(default_factory=list)
    missed: list[float] = field(default_factory=list)
    false: list[float] = field(default_factory=list)

    def within(self, low: float, high: float) -> Counts:
        """Those of a stratum: by their own volume, a false one's being the predicted."""
        return Counts(*([v for v in part if low <= v < high] for part in (self.found, self.missed, self.false)))

    @property
    def recall(self) -> float | None:
        """Which part of the lesions was found; None where there is none."""
        total = len(self.found) + len(self.missed)
        return len(self.found) / total if total else None

    @property
    def precision(self) -> float | None:
        """Which part of what was seen is a lesion; None where nothing was seen."""
        total = len(self.found) + len(self.false)
        return len(self.found) / total if total else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of the two; None where there is nothing to find and nothing was seen."""
        total = 2 * len(self.found) + len(self.missed) + len(self.false)
        return 2 * len(self.found) / total if total else None


def count_lesions(
    predictions: Path, references: Path, cases: Sequence[str], label: int, minimum_ml: float = 0.0
) -> Counts:
    """Match each predicted lesion to a real one that it overlaps, over all cases.

    Args:
        predictions, references: folders of ``CASE.nii.gz``.
        cases: which.
        label: the lesions' value.
        minimum_ml: a predicted component below it is none; real lesions all count.
    Returns:
        the volumes of all.
    """
    import nibabel

    counts = Counts()
    for case in cases:
        files = [nibabel.load(folder / f"{case}.nii.gz") for folder in (predictions, references)]
        predicted, true = (np.asarray(file.dataobj) == label for file in files)
        voxel_ml = float(np.prod(files[1].header.get_zooms()[:3])) / 1000
        count_case(_remove_small(predicted, minimum_ml / voxel_ml), true, voxel_ml, counts)
    return counts


def count_case(predicted: NDArray[np.bool_], true: NDArray[np.bool_], voxel_ml: float, counts: Counts) -> None:
    """Add one case's lesions to the counts; both masks lie on one grid."""
    from medseg.evaluation.instances import match_lesions
    from medseg.shapes.components import find_components

    matched = match_lesions(predicted, true)
    volumes = [np.bincount(find_components(mask)[0].ravel())[1:] * voxel_ml for mask in (predicted, true)]
    for volume, partner in zip(volumes[1], matched.partners, strict=True):
        (counts.found if partner else counts.missed).append(float(volume))
    real = {partner for partner in matched.partners if partner}
    counts.false += [float(volume) for number, volume in enumerate(volumes[0], start=1) if number not in real]


def _remove_small(mask: NDArray[np.bool_], voxels: float) -> NDArray[np.bool_]:
    from medseg.shapes.components import find_components

    parts = find_components(mask)[0]
    kept = np.bincount(parts.ravel()) >= voxels
    kept[0] = False
    return kept[parts]


def format_strata(arms: dict[str, Counts]) -> list[str]:
    """A table: per stratum the lesions, and recall and F1 of each arm."""
    head = f"{'volume':>12}{'lesions':>9}"
    lines = [head + "".join(f"{name:>24}" for name in arms), " " * len(head) + f"{'recall':>14}{'F1':>10}" * len(arms)]
    for low, high in (*STRATA_ML, (0.0, float("inf"))):
        rows = [counts.within(low, high) for counts in arms.values()]
        title = "all" if low == 0.0 and high == float("inf") else f"{low:g} to {high:g}" if low else f"< {high:g}"
        title = title.replace("1 to inf", "1 to 2")
        total = len(rows[0].found) + len(rows[0].missed)
        cells = "".join(f"{_format(row.recall):>14}{_format(row.f1):>10}" for row in rows)
        lines.append(f"{title + (' ml' if title != 'all' else ''):>12}{total:>9}{cells}")
    return lines


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
