"""A folder per case: ``p01/t1.nii.gz``, ``p01/t2.nii.gz``, ``p01/seg.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.io.files import list_folders, list_images, stem_of
from medseg.io.naming import Names
from medseg.io.pairing import common_keys, report_missing_channels
from medseg.io.structures import name_structures
from medseg.io.words import MASK_WORDS, is_helper_mask, is_mask_name


class _Folder(NamedTuple):
    name: str
    images: dict[str, Path]
    masks: list[MaskSource]
    left_out: list[str]


def read_case_folders(root: Path, names: Names) -> Dataset:
    """The data set with a folder per case; masks may be missing.

    The mask is the file called seg, mask, label, gt or the like, or a folder called so with a file per structure; the
    other files are the channels, which must be the same for every case.

    Args:
        root: the folder with the cases' folders.
        names: what a ``dataset.json`` beside them says.
    Returns:
        the data set.
    """
    folders = [_sort_files(folder) for folder in list_folders(root)]
    folders = [folder for folder in folders if folder.images or folder.masks]
    usual = common_keys(folder.images for folder in folders if folder.images)
    single = len(usual) == 1 and all(len(folder.images) <= 1 for folder in folders)
    cases: list[Case] = []
    problems: list[DatasetError] = []
    left_out = {name for folder in folders for name in folder.left_out}
    for folder in folders:
        images = dict(zip(usual, folder.images.values(), strict=False)) if single else folder.images
        missing = [name for name in usual if name not in images]
        left_out |= set(images) - set(usual)
        if missing:
            problems.append(report_missing_channels(folder.name, missing, root / folder.name))
        elif len(folder.masks) > 1:
            problems.append(_report_masks(root, folder))
        else:
            sources = tuple(ImageSource(images[name]) for name in usual)
            cases.append(Case(folder.name, sources, folder.masks[0] if folder.masks else None))
    structures = {name for case in cases if case.mask is not None for name, _ in case.mask.structures}
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout="a folder per case",
        cases=tuple(cases),
        channels=_order_channels(usual, names) if len(usual) > 1 or not single else names.channels,
        labels=names.labels or (name_structures(list(structures)) if structures else None),
        problems=tuple(problems),
        notes=(f"files left out: {', '.join(sorted(left_out))}",) if left_out else (),
    )


def _order_channels(usual: tuple[str, ...], names: Names) -> tuple[str, ...]:
    return names.channels if len(names.channels) == len(usual) and set(names.channels) != set(usual) else usual


def _sort_files(folder: Path) -> _Folder:
    images: dict[str, Path] = {}
    masks: list[MaskSource] = []
    left_out: list[str] = []
    for path in list_images(folder):
        stem = _strip_case(stem_of(path), folder.name)
        if is_helper_mask(stem):
            left_out.append(stem)
        elif is_mask_name(stem):
            masks.append(MaskSource(path))
        else:
            images[stem] = path
    for inner in list_folders(folder):
        structures = tuple((stem_of(path), path) for path in list_images(inner))
        if inner.name.lower() in MASK_WORDS and structures:
            masks.append(MaskSource(inner, structures))
    return _Folder(folder.name, images, masks, left_out)


def _strip_case(stem: str, case: str) -> str:
    # p01/p01_t1.nii.gz is the channel t1; p01/p01.nii.gz has no name of its own.
    stripped = re.sub(rf"^{re.escape(case)}(?:[ _.-]+|$)", "", stem, flags=re.IGNORECASE)
    return stripped or "image"


def _report_masks(root: Path, folder: _Folder) -> DatasetError:
    return DatasetError(
        f"{len(folder.masks)} masks: {', '.join(mask.path.name for mask in folder.masks)}",
        code="ambiguous_mask",
        case=folder.name,
        file=root / folder.name,
        remedy="Keep one, or name the mask of each case in a CSV",
    )
