"""nnU-Net's raw layout: ``imagesTr/CASE_0000.nii.gz``, ``labelsTr/CASE.nii.gz``, ``dataset.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.io.channels import count_channels
from medseg.io.files import list_images, split_channel, split_ending, stem_of
from medseg.io.naming import Names
from medseg.io.pairing import drop_duplicates, pair_masks, report_missing_channels


def is_nnunet(root: Path, names: Names) -> bool:
    """Whether ``dataset.json`` names channels, and lists files itself or lies beside ``imagesTr`` with suffixes."""
    if not names.channels:
        return False
    suffixed = any(split_channel(stem_of(path)) for path in list_images(root / "imagesTr"))
    return isinstance(names.content.get("dataset"), dict) or suffixed


def read_nnunet(root: Path, names: Names) -> Dataset:
    """The data set in an nnU-Net raw folder; masks may be missing, and then are None.

    Args:
        root: the folder with ``dataset.json``.
        names: what ``dataset.json`` says.
    Returns:
        the data set; ``imagesTs`` (with ``labelsTs``) as its test cases.
    """
    notes: list[str] = []
    if isinstance(names.content.get("dataset"), dict):
        cases, problems = _read_listed(root, names)
    else:
        cases, problems = _read_part(root / "imagesTr", root / "labelsTr", names, notes)
    tests, more = _read_part(root / "imagesTs", root / "labelsTs", names, notes)
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout="nnU-Net raw",
        cases=tuple(cases),
        channels=names.channels,
        labels=names.labels,
        test_cases=tuple(tests),
        problems=(*problems, *more),
        notes=tuple(notes),
    )


def _read_part(images: Path, masks: Path, names: Names, notes: list[str]) -> tuple[list[Case], list[DatasetError]]:
    files, problems = drop_duplicates(_pick_ending(list_images(images), names, images.name, notes))
    groups: dict[str, dict[int, Path]] = {}
    for path in files:
        parts = split_channel(stem_of(path))
        if parts is None:
            problems.append(
                DatasetError(
                    "the name has no channel suffix",
                    code="bad_name",
                    case=stem_of(path),
                    file=path,
                    remedy="Name it CASE_0000 and so on",
                )
            )
        else:
            groups.setdefault(parts[0], {})[parts[1]] = path
    count = len(names.channels) or max((max(group) + 1 for group in groups.values()), default=1)
    sources: dict[str, tuple[ImageSource, ...]] = {}
    for case, group in groups.items():
        missing = [f"{case}_{n:04d}" for n in range(count) if n not in group]
        if any(n >= count for n in group):
            notes.append(f"{case}: channel files beyond the {count} that dataset.json names are left out")
        if not missing:
            sources[case] = tuple(ImageSource(group[n]) for n in range(count))
        elif set(group) == {0} and count_channels(group[0]) == count:
            sources[case] = tuple(ImageSource(group[0], n) for n in range(count))
        else:
            problems.append(report_missing_channels(case, missing, min(group.values())))
    labelled, twice = drop_duplicates(_pick_ending(list_images(masks), names, masks.name, notes))
    cases, orphans = pair_masks(sources, {stem_of(path): MaskSource(path) for path in labelled}, groups)
    return cases, [*problems, *twice, *orphans]


def _pick_ending(files: Sequence[Path], names: Names, folder: str, notes: list[str]) -> list[Path]:
    wanted = str(names.content.get("file_ending") or "").lower()
    chosen = [path for path in files if split_ending(path)[1] == wanted]
    if not wanted or not files or len(chosen) == len(files):
        return list(files)
    if not chosen:
        notes.append(
            f"{folder}: dataset.json says {wanted}, the files end in {split_ending(files[0])[1]}; these are used"
        )
        return list(files)
    notes.append(f"{folder}: {len(files) - len(chosen)} files that do not end in {wanted} are left out")
    return chosen


def _read_listed(root: Path, names: Names) -> tuple[list[Case], list[DatasetError]]:
    # dataset.json may list the files of each case itself (nnU-Net 2, "dataset").
    cases, problems = [], []
    for name, entry in sorted(names.content["dataset"].items()):
        listed = entry.get("images") if isinstance(entry, dict) else None
        if not isinstance(listed, list) or not listed:
            problems.append(
                DatasetError("the entry has no list of images", code="bad_record", case=name, file=names.file)
            )
            continue
        images = [root / str(path) for path in listed]
        absent = [path for path in images if not path.is_file()]
        if absent or len(images) < len(names.channels):
            missing = [path.name for path in absent] or list(names.channels[len(images) :])
            problems.append(report_missing_channels(name, missing, (absent or images)[0]))
            continue
        label = entry.get("label")
        sources = tuple(ImageSource(path) for path in images)
        cases.append(Case(name, sources, MaskSource(root / label) if isinstance(label, str) and label else None))
    return cases, problems
