"""Plain folders: one of images and one of masks, or a folder per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.io.files import list_folders, list_images, stem_of
from medseg.io.naming import Names
from medseg.io.pairing import drop_duplicates, group_images, pair_masks, report_missing_channels
from medseg.io.structures import name_structures
from medseg.io.words import IMAGE_WORDS, MASK_WORDS, split_set

TRAINING, TEST = ("", "tr"), ("ts",)


def find_folder(root: Path, words: frozenset[str], parts: Sequence[str]) -> list[Path]:
    """Folders of ``root`` called by one of ``words``, with a suffix such as Tr among ``parts``; in the parts' order."""
    named = ((split_set(folder.name), folder) for folder in list_folders(root))
    found = [(parts.index(part), folder) for (word, part), folder in named if word in words and part in parts]
    return [folder for _, folder in sorted(found)]


def read_two_folders(root: Path, names: Names) -> Dataset:
    """The data set in a folder of images and a folder of masks of the same names; masks may be missing.

    Args:
        root: the folder with ``images`` and ``masks`` (or ``labels``, ``imagesTr``, ``labelsTr``, ...).
        names: what a ``dataset.json`` beside them says.
    Returns:
        the data set; ``imagesTs`` (with ``labelsTs``) as its test cases.
    """
    images = find_folder(root, IMAGE_WORDS, TRAINING)
    masks = find_folder(root, MASK_WORDS, TRAINING)
    notes = [f"the folder {folder.name} is left out" for folder in (*images[1:], *masks[1:])]
    cases, problems = _read_part(images[0], masks[0] if masks else None, names, notes)
    tests: list[Case] = []
    for folder in find_folder(root, IMAGE_WORDS, TEST)[:1]:
        answers = find_folder(root, MASK_WORDS, TEST)
        tests, more = _read_part(folder, answers[0] if answers else None, names, notes)
        problems += more
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout=f"two folders, {images[0].name} and {masks[0].name if masks else 'no masks'}",
        cases=tuple(cases),
        channels=names.channels,
        labels=names.labels or _name_labels([*cases, *tests]),
        test_cases=tuple(tests),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _read_part(
    images: Path, masks: Path | None, names: Names, notes: list[str]
) -> tuple[list[Case], list[DatasetError]]:
    found, problems = read_mask_folder(masks) if masks is not None else ({}, [])
    groups = group_images(list_images(images), count=len(names.channels) or None, masks=list(found))
    if groups.suffixed:
        count = max((len(sources) for sources in groups.sources.values()), default=0)
        notes.append(f"{images.name}: four-digit suffixes are channels, {count} a case")
    known = [problem.case for problem in groups.problems if problem.case]
    cases, orphans = pair_masks(groups.sources, found, known)
    return cases, [*groups.problems, *problems, *orphans]


def read_mask_folder(folder: Path) -> tuple[dict[str, MaskSource], list[DatasetError]]:
    """The masks of a folder by stem: label maps, or a folder per case with a file per structure; and its problems."""
    files, problems = drop_duplicates(list_images(folder))
    masks = {stem_of(path): MaskSource(path) for path in files}
    for inner in [] if masks else list_folders(folder):
        structures = tuple((stem_of(path), path) for path in list_images(inner))
        if structures:
            masks[inner.name] = MaskSource(inner, structures)
    return masks, problems


def _name_labels(cases: Sequence[Case]) -> LabelScheme | None:
    structures = {name for case in cases if case.mask is not None for name, _ in case.mask.structures}
    return name_structures(list(structures)) if structures else None


def find_channel_folders(root: Path) -> list[Path]:
    """Folders that hold one channel each (``CT/images``, or ``CT`` itself beside ``masks``); empty without such."""
    folders = list_folders(root)
    nested = [folder for folder in folders if find_folder(folder, IMAGE_WORDS, TRAINING)]
    if nested:
        return nested
    plain = [folder for folder in folders if split_set(folder.name)[0] not in MASK_WORDS and list_images(folder)]
    masks = [folder for folder in folders if split_set(folder.name)[0] in MASK_WORDS]
    if not masks or not plain:
        return []
    stems = [{stem_of(path) for path in list_images(folder)} for folder in plain]
    return plain if set.intersection(*stems) else []


def read_channel_folders(root: Path, names: Names, wanted: Sequence[str] = ()) -> Dataset:
    """The data set with a folder per channel, the same file names in each; masks may be missing.

    Args:
        root: the folder with the channels' folders.
        names: what a ``dataset.json`` beside them says.
        wanted: the channels' folders to use, in this order; all of them by name where empty or called otherwise.
    Returns:
        the data set; the masks are those of the first channel that has some, else those beside the channels' folders.
    """
    folders = find_channel_folders(root)
    by_name = {folder.name: folder for folder in folders}
    for order in (wanted, names.channels):
        if order and set(order) <= set(by_name):
            folders = [by_name[name] for name in order]
            break
    channels = {folder.name: _list_by_stem(_image_folder(folder)) for folder in folders}
    sources, problems = _join(channels)
    masks, origin = _find_channel_masks(root, folders)
    found, more = read_mask_folder(masks) if masks is not None else ({}, [])
    cases, orphans = pair_masks(sources, found, {problem.case or "" for problem in problems})
    notes = [f"channels {', '.join(channels)} from the folders of these names"]
    if masks is not None:
        notes.append(f"masks from {masks.relative_to(root).as_posix()}{origin}")
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout="a folder per channel",
        cases=tuple(cases),
        channels=tuple(channels),
        labels=names.labels or _name_labels(cases),
        problems=(*problems, *more, *orphans),
        notes=tuple(notes),
    )


def _image_folder(folder: Path) -> Path:
    nested = find_folder(folder, IMAGE_WORDS, TRAINING)
    return nested[0] if nested else folder


def _list_by_stem(folder: Path) -> dict[str, Path]:
    return {stem_of(path): path for path in list_images(folder)}


def _join(
    channels: Mapping[str, Mapping[str, Path]],
) -> tuple[dict[str, tuple[ImageSource, ...]], list[DatasetError]]:
    sources, problems = {}, []
    for case in sorted(set().union(*channels.values())):
        missing = [name for name, files in channels.items() if case not in files]
        if missing:
            present = next(files[case] for files in channels.values() if case in files)
            problems.append(report_missing_channels(case, missing, present))
        else:
            sources[case] = tuple(ImageSource(files[case]) for files in channels.values())
    return sources, problems


def _find_channel_masks(root: Path, folders: Sequence[Path]) -> tuple[Path | None, str]:
    for folder in folders:
        nested = find_folder(folder, MASK_WORDS, TRAINING)
        if nested:
            others = [f.name for f in folders if f != folder and find_folder(f, MASK_WORDS, TRAINING)]
            return nested[0], f"; those of {', '.join(others)} are not used" if others else ""
    beside = find_folder(root, MASK_WORDS, TRAINING)
    return (beside[0] if beside else None), ""
