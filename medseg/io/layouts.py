"""Opening a data set, whatever its layout: files are found and paired here, not read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.channel_rules import keep_rules
from medseg.core.dataset import Case, Dataset, list_files
from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.core.labels import LabelScheme
from medseg.io.case_names import check_case_name, find_alike
from medseg.io.channels import rename_channels, split_colours
from medseg.io.dicom.recognition import tell_mixture
from medseg.io.files import IMAGE_ENDINGS, is_image_name, list_folders, list_images
from medseg.io.guard import check_name
from medseg.io.layout_bids import read_bids
from medseg.io.layout_cases import read_case_folders
from medseg.io.layout_csv import is_case_table, read_csv
from medseg.io.layout_folders import (
    TRAINING,
    find_channel_folders,
    find_folder,
    read_channel_folders,
    read_two_folders,
)
from medseg.io.layout_msd import read_msd
from medseg.io.layout_nnunet import is_nnunet, read_nnunet
from medseg.io.naming import Names, read_names
from medseg.io.shortfalls import note_elsewhere, note_shortfall
from medseg.io.tables import name_patients
from medseg.io.words import IMAGE_WORDS


def open_dataset(
    path: str | Path,
    *,
    channels: Sequence[str] | None = None,
    labels: LabelScheme | None = None,
    spacing_mm: Sequence[float] | None = None,
    nonfinite: str = "refuse",
) -> Dataset:
    """The cases of a data set with images and masks; no image is read.

    Args:
        path: an nnU-Net raw folder, a Decathlon folder, two folders of images and masks, a folder per channel, a folder
            per case, BIDS with derivatives, or a CSV ``case,patient,day,image,...,mask``.
        channels: the channels' names, or a choice among those the data set names; its own where None.
        labels: the label scheme; the data set's own where None.
        spacing_mm: for pictures, which seldom know theirs.
        nonfinite: what becomes of NaN and infinite voxels: ``refuse`` the case, or ``fill`` them.
    Returns:
        the data set; what is wrong with single cases stands in its ``problems``, and the other cases are usable.
    Raises:
        DatasetError: there is nothing, or nothing that looks like one of these layouts.
        FormatError: ``dataset.json`` or a table is damaged.
    """
    tell_mixture(path)
    dataset = read_layout(path, channels=channels, spacing_mm=spacing_mm)
    dataset = _require_masks(dataset)
    dataset = settle_filling(dataset, nonfinite)
    return dataset if labels is None else replace(dataset, labels=labels)


def settle_filling(dataset: Dataset, nonfinite: str) -> Dataset:
    """The data set, its NaN and infinite voxels filled where ``nonfinite`` is ``fill``; raises DatasetError otherwise.

    Args:
        dataset: as it was found.
        nonfinite: ``refuse`` or ``fill``.
    Returns:
        the data set.
    Raises:
        DatasetError: another word.
    """
    if nonfinite not in ("refuse", "fill"):
        raise DatasetError(
            f"--nonfinite {nonfinite!r}, expected refuse or fill", code="bad_option", remedy="Write --nonfinite fill"
        )
    return dataset.filled() if nonfinite == "fill" else dataset


def refuse_names(dataset: Dataset) -> Dataset:
    """The data set without the cases whose names no output file can have, or whose files' names no text can hold.

    Args:
        dataset: as its layout was read.
    Returns:
        the data set; those cases have become problems, and so have cases whose names are one file's on many disks.
    """
    problems: dict[str, MedsegError] = {}
    alike = {
        **find_alike([case.name for case in dataset.cases]),
        **find_alike([case.name for case in dataset.test_cases]),
    }
    for case in (*dataset.cases, *dataset.test_cases):
        try:
            for path in list_files(case):
                check_name(path)
            check_name(case.name)
            check_case_name(case.name)
            if case.name in alike:
                raise _report_alike(case, alike[case.name])
        except MedsegError as error:
            error.file = error.file or show_name(str(case.images[0].path))
            problems[case.name] = error.for_case(case.name)
    if not problems:
        return dataset
    cases, test_cases = (
        tuple(case for case in group if case.name not in problems) for group in (dataset.cases, dataset.test_cases)
    )
    return replace(dataset, cases=cases, test_cases=test_cases, problems=(*dataset.problems, *problems.values()))


def _report_alike(case: Case, names: Sequence[str]) -> DatasetError:
    others = " and ".join(name for name in names if name != case.name)
    return DatasetError(
        f"{others} is the same name but for upper and lower case or accents: one file on many disks",
        code="duplicate_case",
        case=case.name,
        file=case.images[0].path,
        remedy="Rename one of them",
    )


def read_layout(
    path: str | Path, *, channels: Sequence[str] | None = None, spacing_mm: Sequence[float] | None = None
) -> Dataset:
    """As ``open_dataset``, but a case without a mask stays, with None for its mask."""
    root = Path(path)
    if not root.exists():
        raise DatasetError("neither a folder nor a file", code="missing_file", file=root, remedy="Check the path")
    names = read_names(root if root.is_dir() else root.parent)
    dataset = _read_folder(root, names, channels or ()) if root.is_dir() else _read_file(root, names, channels or ())
    folder = root if root.is_dir() else root.parent
    cases, problems, notes = name_patients(dataset.cases, folder, names, others=dataset.test_cases)
    tests, more, _ = name_patients(dataset.test_cases, folder, names)
    dataset = replace(
        dataset,
        cases=cases,
        test_cases=tests,
        problems=(*dataset.problems, *problems, *more),
        notes=(*dataset.notes, *notes, *note_shortfall(dataset, names), *note_elsewhere(dataset, folder)),
        spacing_mm=None if spacing_mm is None else tuple(spacing_mm),
        channel_rules=keep_rules(names.channel_rules, dataset.channels),
        codes=names.codes,
    )
    dataset = split_colours(refuse_names(dataset))
    return dataset if channels is None else rename_channels(dataset, channels)


def _read_file(file: Path, names: Names, channels: Sequence[str]) -> Dataset:
    if file.suffix.lower() in (".csv", ".tsv"):
        return read_csv(file, names)
    if file.name == "dataset.json":
        return _read_folder(file.parent, names, channels)
    raise _report_unknown(file, "a single file")


def _read_folder(root: Path, names: Names, channels: Sequence[str]) -> Dataset:
    has_images = bool(find_folder(root, IMAGE_WORDS, TRAINING))
    if isinstance(names.content.get("training"), list):
        return read_msd(root, names)
    if is_nnunet(root, names):
        return read_nnunet(root, names)
    if has_images:
        return read_two_folders(root, names)
    folders = list_folders(root)
    if any(folder.name.startswith("sub-") for folder in folders):
        return read_bids(root, names)
    in_channels = find_channel_folders(root)
    if len(in_channels) == 1 and find_folder(in_channels[0], IMAGE_WORDS, TRAINING):
        return _read_folder(in_channels[0], names if names.file else read_names(in_channels[0]), channels)
    if in_channels:
        return read_channel_folders(root, names, channels)
    tables = [file for file in _list_tables(root) if is_case_table(file)]
    if len(tables) == 1:
        return read_csv(tables[0], names)
    if any(list_images(folder) for folder in folders):
        return read_case_folders(root, names)
    raise _report_unknown(root, _describe(root, folders))


def _list_tables(root: Path) -> list[Path]:
    return sorted(file for file in root.glob("*.csv") if file.name != "cases.csv" and file.is_file())


def _describe(root: Path, folders: Sequence[Path]) -> str:
    files = [path for path in root.iterdir() if path.is_file()]
    images = sum(map(is_image_name, files))
    inner = ", ".join(folder.name for folder in folders[:5]) + (", ..." if len(folders) > 5 else "")
    return (
        f"{images} image files, {len(files) - images} other files"
        f" and {len(folders)} folders{f' ({inner})' if inner else ''}"
    )


def _report_unknown(path: Path, found: str) -> DatasetError:
    folder = path if path.is_dir() else path.parent
    return DatasetError(
        f"no known layout: found {found}; known images end in {' '.join(IMAGE_ENDINGS)}",
        code="unknown_layout",
        file=path,
        remedy=(
            "Put the images into images/ and the masks, under the same names, into masks/ of one folder, or list them"
            f" in a CSV with the columns case,patient,day,image,mask; then: medseg check {folder}"
        ),
    )


def _require_masks(dataset: Dataset) -> Dataset:
    told = {problem.case for problem in dataset.problems}  # two masks of one name are no mask, and have been named
    without = [case for case in dataset.cases if not _has_mask(case)]
    missing: list[MedsegError] = [_report_no_mask(case) for case in without if case.name not in told]
    if not without:
        return dataset
    return replace(
        dataset,
        cases=tuple(case for case in dataset.cases if _has_mask(case)),
        problems=(*dataset.problems, *missing),
    )


def _has_mask(case: Case) -> bool:
    return case.mask is not None and os.path.lexists(case.mask.path)


def _report_no_mask(case: Case) -> DatasetError:
    named = case.mask is not None
    return DatasetError(
        "the mask that is named for it is not there" if named else "the case has no mask",
        code="missing_mask",
        case=case.name,
        file=case.mask.path if case.mask is not None else case.images[0].path,
        remedy="Correct its path, add the mask, or leave the case out"
        if named
        else "Add its mask, or leave the case out",
    )
