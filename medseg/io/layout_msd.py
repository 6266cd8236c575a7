"""The Medical Segmentation Decathlon's layout: a ``dataset.json`` that lists the files; channels in 4D NIfTI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError, FormatError
from medseg.io.channels import count_channels
from medseg.io.files import list_images, split_channel, split_ending, stem_of
from medseg.io.naming import Names


def read_msd(root: Path, names: Names) -> Dataset:
    """The data set that a Decathlon ``dataset.json`` lists; a mask that it does not list is None.

    Args:
        root: the folder with ``dataset.json``.
        names: what ``dataset.json`` says.
    Returns:
        the data set, the files listed under ``test`` as its test cases.
    Raises:
        FormatError: an entry of the lists is not of the Decathlon's form.
    """
    problems: list[DatasetError] = []
    entries = [_parse_entry(entry, names) for entry in names.content["training"]]
    tests = [_parse_entry(entry, names) for entry in names.content.get("test") or ()]
    count = len(names.channels) or _count_first(root, entries)
    cases = _make_cases(root, entries, count, problems)
    listed = {source.path.name for case in cases for source in case.images}
    unlisted = [path for path in list_images(root / "imagesTr") if path.name not in listed]
    unlisted = [path for path in unlisted if path.name not in {Path(problem.file or "").name for problem in problems}]
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout="Medical Segmentation Decathlon",
        cases=tuple(cases),
        channels=names.channels,
        labels=names.labels,
        test_cases=tuple(_make_cases(root, tests, count, problems)),
        problems=tuple(problems),
        notes=(f"{len(unlisted)} files of imagesTr that dataset.json does not list are left out",) if unlisted else (),
    )


def _parse_entry(entry: Any, names: Names) -> tuple[tuple[str, ...], str | None]:
    image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    images = image if isinstance(image, list) else [image]
    if not images or not all(isinstance(path, str) and path for path in images):
        raise FormatError(f"the entry {entry!r} names no image", code="bad_record", file=names.file)
    return tuple(images), label if isinstance(label, str) else None


def _count_first(root: Path, entries: list[tuple[tuple[str, ...], str | None]]) -> int:
    return (count_channels(root / entries[0][0][0]) or 1) if entries else 1


def _make_cases(
    root: Path, entries: list[tuple[tuple[str, ...], str | None]], count: int, problems: list[DatasetError]
) -> list[Case]:
    cases: dict[str, Case] = {}
    entries = list(dict.fromkeys(entries))  # listed twice alike, a case is still one
    times = Counter(_name_entry(images) for images, _ in entries)
    twice = {_name_entry(images): root / images[0] for images, _ in entries if times[_name_entry(images)] > 1}
    # Which of its entries is right nobody can know, so none is used.
    reason, remedy = "several entries of dataset.json have this name", "Keep one, or name the files apart"
    problems += [_report(name, file, "duplicate_case", reason, remedy) for name, file in twice.items()]
    for images, label in entries:
        paths = [root / image for image in images]
        name = _name_entry(images)
        absent = [path for path in paths if not path.is_file()]
        if absent and len(paths) == 1:
            paths, absent = _find_suffixed(paths[0], count)
        if name in twice:
            continue
        if absent:
            problems.append(
                _report(name, absent[0], "missing_image", "the image that dataset.json lists is not there", "Add it")
            )
        else:
            mask = MaskSource(root / label) if label else None
            cases[name] = Case(name, _make_sources(paths, count), mask)
    return [cases[name] for name in sorted(cases)]


def _name_entry(images: Sequence[str]) -> str:
    parts = split_channel(stem_of(images[0])) if len(images) > 1 else None
    return parts[0] if parts else stem_of(images[0])


def _find_suffixed(path: Path, count: int) -> tuple[list[Path], list[Path]]:
    # nnU-Net 1 lists CASE.nii.gz where the files are CASE_0000.nii.gz and so on.
    stem, ending = split_ending(path)
    files = [path.with_name(f"{stem}_{n:04d}{ending}") for n in range(count)]
    absent = [file for file in files if not file.is_file()]
    return (files, absent) if len(absent) < count else ([path], [path])


def _make_sources(paths: list[Path], count: int) -> tuple[ImageSource, ...]:
    if len(paths) > 1 or count == 1:
        return tuple(ImageSource(path) for path in paths)
    return tuple(ImageSource(paths[0], n) for n in range(count))


def _report(case: str, file: Path, code: str, reason: str, remedy: str) -> DatasetError:
    return DatasetError(reason, code=code, case=case, file=file, remedy=remedy)
