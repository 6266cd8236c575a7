"""Scores of made-up methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medseg.core.results import Score


def make_score(case: str, value: float | None, metric: str = "dice", **more: Any) -> Score:
    """A score of the whole liver; its patient is the case's name up to a dash."""
    known: dict[str, Any] = {
        "patient": case.partition("-")[0],
        "day": None,
        "fold": None,
        "label": "liver",
        "instance": 0,
        "definition": "voxel",
        "unit": "",
        "status": "ok" if value is not None else "both_empty",
    }
    return Score(case=case, metric=metric, value=value, **{**known, **more})


def make_scores(values: Sequence[float | None], metric: str = "dice", **more: Any) -> list[Score]:
    """A score for each of as many patients: ``p0``, ``p1``, ..."""
    return [make_score(f"p{number}", value, metric, **more) for number, value in enumerate(values)]
