"""The nnU-Net models that nnunet_models.py trains: what each is there for, its scans and its network.

Standard library only, so that the tests can list the models with any Python.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = {"background": 0, "organ": 1, "lesion": 2}
THREE_CLASSES = {**CLASSES, "core": 3}
FEATURES = (8, 16, 32)  # channels per stage
# Each test scan's spacing in parts of the training scans'. The second makes slices of exactly three times the pixels,
# where nnU-Net just still interpolates between them; the third makes sizes end on half a voxel.
TEST_SCALES = ((1.0, 1.0, 1.0), (0.5, 0.5, 1.5), (1.5, 1.25, 1.5))


@dataclass(frozen=True)
class Recipe:
    """One model.

    Args:
        name: of its folder.
        channels: nnU-Net's names, which choose the normalisation.
        labels: as ``dataset.json`` has them: values, or lists of values for regions.
        extent_mm: how far the scans reach along the file's axes i, j, k.
        spacing_mm: of the training scans along i, j, k; the pictures' pixels count as 1 mm.
        patch_size: in the network's order, the coarsest axis first.
        configuration: nnU-Net's name; that of the second stage for a cascade.
        flat_first: whether the finest stage looks at single slices, as nnU-Net plans it for thick ones.
        residual: a residual encoder.
        folds: the networks that are averaged.
        trainer: the class, which decides how prediction mirrors.
        reader: the class that reads images where it is not the one that nnU-Net takes for the file's ending.
        ending: of the files.
        zero_outside: the scans are exactly 0 around the body, so that they are cropped and the mask of what is not 0
            is used in normalising.
        old_plans: ``plans.json`` as nnU-Net wrote it before its version 2.4.
        test_scales: of the test scans' spacing; one scan each.
    """

    name: str
    channels: tuple[str, ...]
    labels: dict[str, int | list[int]]
    extent_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    patch_size: tuple[int, ...]
    configuration: str = "3d_fullres"
    flat_first: bool = False
    residual: bool = False
    folds: tuple[int | str, ...] = (0,)
    trainer: str = "nnUNetTrainer"
    reader: str | None = None
    ending: str = ".nii.gz"
    zero_outside: bool = False
    old_plans: bool = False
    test_scales: tuple[tuple[float, float, float], ...] = TEST_SCALES

    @property
    def structures(self) -> int:
        """How many values a mask has besides the background and what is ignored."""
        values = [value for name, entry in self.labels.items() if name != "ignore" for value in as_list(entry)]
        return max(values)

    @property
    def is_cascade(self) -> bool:
        return self.configuration == "3d_cascade_fullres"

    @property
    def strides(self) -> list[list[int]]:
        """Per stage, from the finest."""
        size = len(self.patch_size)
        return [[1] * size, [1, *[2] * (size - 1)] if self.flat_first else [2] * size, [2] * size]

    @property
    def kernels(self) -> list[list[int]]:
        """Per stage, from the finest."""
        size = len(self.patch_size)
        return [[1, *[3] * (size - 1)] if self.flat_first else [3] * size, [3] * size, [3] * size]


def as_list(entry: int | list[int]) -> list[int]:
    """The values of a label or a region."""
    return entry if isinstance(entry, list) else [entry]


REGIONS: dict[str, int | list[int]] = {
    "background": 0,
    "whole_tumour": [1, 2, 3],
    "tumour_core": [2, 3],
    "enhancing_tumour": 3,
}

RECIPES = (
    # Slices across the coarse axis j of the file, so that the network's order is j, k, i.
    Recipe("slices", ("MRI",), THREE_CLASSES, (46, 40, 42), (0.9, 4.0, 0.9), (32, 32), configuration="2d"),
    Recipe(
        "pictures", ("rgb_to_0_1",) * 3, CLASSES, (60, 52, 1), (1, 1, 1), (32, 32), configuration="2d", ending=".png"
    ),
    Recipe("residual", ("MRI",), THREE_CLASSES, (44, 40, 50), (1.0, 1.0, 1.4), (24, 32, 32), residual=True),
    Recipe("regions", ("T1", "FLAIR"), REGIONS, (46, 44, 46), (1.2, 1.2, 1.2), (24, 32, 32)),
    Recipe(
        "cascade",
        ("MRI",),
        THREE_CLASSES,
        (44, 40, 40),
        (1.0, 1.0, 1.0),
        (24, 24, 32),
        configuration="3d_cascade_fullres",
        folds=("all",),
    ),
    Recipe("masked", ("T1", "T2", "FLAIR"), CLASSES, (50, 48, 44), (1.1, 1.1, 1.3), (24, 32, 32), zero_outside=True),
    Recipe(
        "ct",
        ("CT",),
        CLASSES,
        (46, 42, 60),
        (1.0, 1.0, 5.0),
        (8, 32, 32),
        flat_first=True,
        # Thick slices, thin ones, which the plan's spacing makes coarse, and thicker ones.
        test_scales=((1.0, 1.0, 1.0), (0.75, 0.8, 0.4), (1.3, 1.2, 1.5)),
    ),
    Recipe(
        "ensemble",
        ("MRI",),
        CLASSES,
        (44, 40, 42),
        (1.1, 1.1, 1.1),
        (24, 32, 24),
        folds=(0, 1),
        reader="NibabelIOWithReorient",
    ),
    # Mirrored along the first two axes only; the coarse axis is i, so that the network's order is i, k, j.
    Recipe(
        "two_mirrors",
        ("rescale_to_0_1", "noNorm"),
        {**CLASSES, "ignore": 3},
        (48, 40, 40),
        (2.0, 1.0, 1.0),
        (16, 32, 32),
        trainer="nnUNetTrainer_onlyMirror01",
    ),
    Recipe(
        "old_plans",
        ("MRI",),
        CLASSES,
        (44, 42, 40),
        (1.0, 1.0, 1.2),
        (24, 32, 32),
        trainer="nnUNetTrainerNoMirroring",
        old_plans=True,
    ),
)
