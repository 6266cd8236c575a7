"""When a volume has grown or shrunk, how fast it doubles, and how far a count of voxels can be trusted."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from medseg.core.geometry import Geometry

# A lesion has grown where its volume is at least so many times the earlier one: the 25 % of the NELSON trial (van
# Klaveren et al., N Engl J Med 2009;361:2221-2229) and of the British Thoracic Society's guideline (Callister et al.,
# Thorax 2015;70 Suppl 2:ii1-ii54), above what repeated scans of one day differ by (Gietema et al., Radiology
# 2006;241:251-257: -21 to +24 %). Shrunk is the reverse, a fifth less, so that time read backwards says the same.
GROWTH_RATIO = 1.25
# 95 % of a normal error lies within so many standard deviations.
COVERAGE = 1.96
# The dual lattice is summed out to this many steps of its coarsest axis; the rest as an integral.
_REACH_STEPS = 12


def name_change(from_ml: float, to_ml: float, error_ml: float = 0.0) -> str:
    """Whether a volume is ``new``, ``gone``, ``grown``, ``shrunk`` or ``stable``.

    Args:
        from_ml, to_ml: the earlier and the later volume, millilitres; 0 where there is no lesion.
        error_ml: differences of no more than this are stable, however large in percent: what placing the voxels
            otherwise would change (``measure_counting_error``).
    Returns:
        the word; two empty volumes are ``stable``.
    Source: the ratio of 1.25 is that of NELSON and of the BTS guideline (see ``GROWTH_RATIO``); both are of lung
        nodules on CT, and serve for other lesions for want of a threshold of their own.
    """
    if from_ml <= 0 or to_ml <= 0:
        return "new" if to_ml > 0 else "gone" if from_ml > 0 else "stable"
    if abs(to_ml - from_ml) <= error_ml:
        return "stable"
    if to_ml >= GROWTH_RATIO * from_ml:
        return "grown"
    return "shrunk" if from_ml >= GROWTH_RATIO * to_ml else "stable"


def measure_doubling_time(from_ml: float, to_ml: float, days: int) -> float | None:
    """The days in which a volume doubles at the rate seen.

    Args:
        from_ml, to_ml: volumes, millilitres.
        days: between them.
    Returns:
        days; None where the volume did not grow, or one of them is 0.
    Source: Schwartz, Cancer 1961;14:1272-1294 (exponential growth).
    """
    if from_ml <= 0 or to_ml <= from_ml or days <= 0:
        return None
    return days * math.log(2) / math.log(to_ml / from_ml)


def compare_intervals(first: tuple[float | None, float | None], second: tuple[float | None, float | None]) -> str:
    """Whether two volumes differ by more than their errors.

    Args:
        first, second: lowest and highest volume by their error bars; None where an error is not known.
    Returns:
        ``yes`` where the intervals have no value in common, which two 95 % intervals of one volume do in fewer than
        1 % of cases if their errors are independent; ``no`` where they have; ``unknown`` without both intervals.
    """
    low_a, high_a = first
    low_b, high_b = second
    if low_a is None or high_a is None or low_b is None or high_b is None:
        return "unknown"
    return "yes" if high_a < low_b or high_b < low_a else "no"


def measure_counting_error(surface_mm2: float, geometry: Geometry) -> float:
    """The standard deviation of a volume by counting voxels, over all positions of the grid.

    Args:
        surface_mm2: the lesion's surface.
        geometry: the grid; anisotropic and oblique ones are exact.
    Returns:
        millilitres; 0 without a surface. It holds for smooth shapes without a preferred direction of at least some
        voxels; on cubes of side u it is sqrt(0.0666 x surface x u^4). What a segmentation does wrong is not in it.
    Source: Kendall, Q J Math 1948;19:1-26, and Matheron, Les variables régionalisées, 1965: the variance is the sum of
        the shape's power spectrum over the points of the dual lattice, surface / (8 pi^3 |point|^4) each.
    """
    sum_mm4 = _sum_dual_lattice(geometry.affine[:3, :3].tobytes())
    return math.sqrt(max(surface_mm2, 0.0) * sum_mm4 / (8 * math.pi**3)) / 1000


@lru_cache(maxsize=64)
def _sum_dual_lattice(linear: bytes) -> float:
    # The sum of 1 / |point|^4 over the dual lattice without its origin, mm^4.
    axes = np.linalg.inv(np.frombuffer(linear).reshape(3, 3))  # its rows span the dual lattice
    radius = (
        _REACH_STEPS
        * float(np.linalg.norm(axes, axis=1).min()) ** 0.5
        * float(np.linalg.norm(axes, axis=1).max()) ** 0.5
    )
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(axes), axis=0)).astype(int)
    steps = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ axes, axis=1)
    inside = lengths[(lengths > 0) & (lengths <= radius)]
    tail = 4 * math.pi / (abs(np.linalg.det(axes)) * radius)
    return float((inside**-4).sum() + tail)
