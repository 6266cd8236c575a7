"""medseg: self-configuring segmentation of medical images, from a folder of scans to a tumour report.

The names below stand in the order of the pipeline and are loaded when first used; ``medseg.pipeline`` has the steps
as the command line runs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.augmentation import AUGMENTATIONS, DEFAULT_AUGMENTATIONS, Augmentation
    from medseg.core.dataset import Case, Dataset
    from medseg.core.errors import MedsegError
    from medseg.core.fingerprint import Fingerprint
    from medseg.core.geometry import Geometry
    from medseg.core.labels import LabelScheme
    from medseg.core.plan import Configuration, Plan
    from medseg.core.results import Measurement, Score
    from medseg.core.volume import Segmentation, Volume
    from medseg.evaluation import compare_scores, evaluate_case, measure_agreement, summarise_scores
    from medseg.fingerprint import extract_fingerprint, inspect_dataset
    from medseg.inference import Prediction, Predictor, predict_case
    from medseg.io import (
        open_dataset,
        parse_labels,
        read_image,
        read_segmentation,
        read_volume,
        write_segmentation,
        write_volume,
    )
    from medseg.measurement import measure_case
    from medseg.networks import NETWORKS, build_network
    from medseg.pipeline import compare
    from medseg.planning import make_folds, make_plan
    from medseg.postprocessing import apply_rules
    from medseg.preprocessing import open_prepared, prepare_case, write_prepared
    from medseg.reporting import write_report
    from medseg.training import LOSSES, batches, train_fold

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - in pipeline order
    "MedsegError",
    "Geometry",
    "Volume",
    "Segmentation",
    "LabelScheme",
    "Case",
    "Dataset",
    "Fingerprint",
    "Plan",
    "Configuration",
    "Score",
    "Measurement",
    "open_dataset",
    "parse_labels",
    "read_image",
    "read_volume",
    "read_segmentation",
    "write_volume",
    "write_segmentation",
    "inspect_dataset",
    "extract_fingerprint",
    "make_plan",
    "make_folds",
    "prepare_case",
    "write_prepared",
    "open_prepared",
    "AUGMENTATIONS",
    "DEFAULT_AUGMENTATIONS",
    "Augmentation",
    "NETWORKS",
    "build_network",
    "LOSSES",
    "batches",
    "train_fold",
    "Predictor",
    "Prediction",
    "predict_case",
    "apply_rules",
    "evaluate_case",
    "summarise_scores",
    "compare_scores",
    "measure_agreement",
    "measure_case",
    "write_report",
    "compare",
]

_PLACES = {
    "medseg.core.errors": ("MedsegError",),
    "medseg.core.geometry": ("Geometry",),
    "medseg.core.volume": ("Volume", "Segmentation"),
    "medseg.core.labels": ("LabelScheme",),
    "medseg.core.dataset": ("Case", "Dataset"),
    "medseg.core.fingerprint": ("Fingerprint",),
    "medseg.core.plan": ("Plan", "Configuration"),
    "medseg.core.results": ("Score", "Measurement"),
    "medseg.io": (
        *("open_dataset", "parse_labels", "read_image", "read_volume", "read_segmentation"),
        *("write_volume", "write_segmentation"),
    ),
    "medseg.fingerprint": ("inspect_dataset", "extract_fingerprint"),
    "medseg.planning": ("make_plan", "make_folds"),
    "medseg.preprocessing": ("prepare_case", "write_prepared", "open_prepared"),
    "medseg.augmentation": ("AUGMENTATIONS", "DEFAULT_AUGMENTATIONS", "Augmentation"),
    "medseg.networks": ("NETWORKS", "build_network"),
    "medseg.training": ("LOSSES", "batches", "train_fold"),
    "medseg.inference": ("Predictor", "Prediction", "predict_case"),
    "medseg.postprocessing": ("apply_rules",),
    "medseg.evaluation": ("evaluate_case", "summarise_scores", "compare_scores", "measure_agreement"),
    "medseg.measurement": ("measure_case",),
    "medseg.reporting": ("write_report",),
    "medseg.pipeline": ("compare",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
