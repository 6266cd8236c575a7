"""A small workspace with prepared cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource, write_dataset
from medseg.core.records import write_json
from medseg.core.workspace import Workspace
from medseg.io import write_segmentation, write_volume
from medseg.preprocessing.cases import prepare_cases
from tests.preprocessing.examples import CLASSES, make_scan
from tests.training.examples import make_configuration, make_plan


def make_workspace(root: Path, count: int = 4, **options: Any) -> tuple[Workspace, Dataset]:
    """Scans s0, s1, ..., prepared; fold 0 validates the last one. The options are those of ``make_configuration``."""
    configuration = make_configuration(**{"iterations_per_epoch": 3, "epochs": 2, **options})
    cases = []
    for number in range(count):
        volume, segmentation = make_scan(seed=number)
        image, mask = root / "images" / f"s{number}.nii.gz", root / "masks" / f"s{number}.nii.gz"
        write_volume(image, volume)
        write_segmentation(mask, segmentation)
        cases.append(Case(f"s{number}", (ImageSource(image),), MaskSource(mask)))
    space = Workspace(root / "w")
    dataset = Dataset(root, "example", "made here", tuple(cases), ("c0",), CLASSES)
    plan = make_plan(configuration)
    plan.write(space.plan)
    write_dataset(space.cases, dataset)
    names = [case.name for case in cases]
    write_json(
        space.folds, [{"train": names[:-1], "validation": names[-1:]}, {"train": names[-1:], "validation": names[:1]}]
    )
    prepare_cases(dataset, plan, configuration, space.prepared(configuration.name))
    return space, dataset
