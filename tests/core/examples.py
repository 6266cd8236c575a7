"""Errors of volumes to test with."""

from __future__ import annotations

from typing import Any

from medseg.core.labels import LabelScheme
from medseg.core.model import LabelErrors, VolumeErrors, VolumeStratum


def make_errors(scheme: LabelScheme, *, low: float = 0.9, high: float = 1.1, **changes: Any) -> VolumeErrors:
    """Errors of every label: small volumes (below 1 ml) three times as uncertain as large ones."""
    small = VolumeStratum(
        from_ml=None, to_ml=1.0, patients=40, cases=44, tails="both", low=1 - 3 * (1 - low), high=1 + 3 * (high - 1)
    )
    large = VolumeStratum(from_ml=1.0, to_ml=None, patients=50, cases=50, tails="both", low=low, high=high)
    known = tuple(
        LabelErrors(label=name, values=values, strata=(small, large), smallest_ml=0.01, largest_ml=1000.0)
        for name, values in scheme.labels.items()
    )
    content: dict[str, Any] = {
        "level": 0.95,
        "labels": known,
        "configuration": "3d_fullres",
        "folds": (0, 1),
        "weights": {},
        "postprocessing": (),
    }
    return VolumeErrors.make(**{**content, **changes})
