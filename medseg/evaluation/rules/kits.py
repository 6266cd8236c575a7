"""Scoring as the KiTS21 and KiTS23 challenges do it."""

from __future__ import annotations

from medseg.evaluation import overlap, surface
from medseg.evaluation.metrics import Metric
from medseg.evaluation.pairs import LabelPair
from medseg.evaluation.rules.regions import Region, Rules
from medseg.shapes.surfaces import measure_surface_distances


def measure_dice(pair: LabelPair) -> float:
    """The Dice, 0 to 1; 1 where both masks are empty, 0 where one is."""
    value = overlap.measure_dice(pair.counts)
    return 1.0 if value is None else value


def measure_surface_dice(pair: LabelPair) -> float:
    """The surface Dice at the region's tolerance, 0 to 1; 1 where both masks are empty, 0 where one is."""
    if not pair.counts.prediction and not pair.counts.reference:
        return 1.0
    distances = measure_surface_distances(pair.prediction, pair.reference, pair.spacing_mm)
    return surface.measure_nsd(distances, pair.tolerance_mm)


KITS = Rules(
    "kits",
    "Heller et al., KiTS23, neheller/kits23, evaluation/metrics.py and configuration/labels.py (the same in KiTS21, "
    "arXiv:2307.01984): hierarchical regions, surface Dice of the surface-distance package at tolerances from the "
    "disagreement of annotators, 1 where both masks are empty and 0 where one is",
    (
        Metric("dice", measure_dice, "kits23", covers_empty=True),
        Metric("nsd", measure_surface_dice, "kits23 surfel tol={tolerance_mm:g}mm", covers_empty=True),
    ),
    parts={"kidney": 1, "tumor": 2, "cyst": 3},
    regions={
        "kidney_and_mass": Region(("kidney", "tumor", "cyst"), 1.0330772532390826),
        "mass": Region(("tumor", "cyst"), 1.1328796488598762),
        "tumor": Region(("tumor",), 1.1498198361434828),
    },
    synonyms={"tumour": "tumor"},
)
