"""From lists of files to cases: which files are one case's channels, and which mask belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.core.dataset import Case, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.io.files import group_channels, stem_of
from medseg.io.words import strip_mask_word


class Images(NamedTuple):
    """The image files of a folder by case.

    Args:
        sources: each case's channels.
        problems: cases that lack a channel or exist twice.
        suffixed: whether four-digit suffixes were read as channels.
    """

    sources: dict[str, tuple[ImageSource, ...]]
    problems: list[DatasetError]
    suffixed: bool


def group_images(files: Iterable[Path], *, count: int | None = None, masks: Collection[str] = ()) -> Images:
    """Sort image files into cases.

    A four-digit suffix is a channel only where every case has the suffixes 0000 to n-1; a case that lacks some of them
    is a problem where another case is complete and n is above 1, or where the masks' names show that it is one.

    Args:
        files: image files.
        count: how many channels there must be; None where nothing says so.
        masks: the stems of the masks, where there are any.
    Returns:
        the channels of each case.
    """
    files, problems = drop_duplicates(files)
    whole = Images({stem_of(path): (ImageSource(path),) for path in files}, problems, False)
    groups = group_channels(files)
    if not groups:
        return whole
    if any(stem in whole.sources for stem in masks) and not any(stem in groups for stem in masks):
        return whole
    count = count or max(max(group) for group in groups.values()) + 1
    full = set(range(count))
    complete = sum(set(group) == full for group in groups.values())
    tolerant = count > 1 and complete > 0 and all(set(group) <= full for group in groups.values())
    if complete < len(groups) and not tolerant:
        return whole
    sources = {}
    for case, group in groups.items():
        missing = sorted(full - set(group))
        if missing:
            problems.append(report_missing_channels(case, [f"{case}_{n:04d}" for n in missing], min(group.values())))
        else:
            sources[case] = tuple(ImageSource(group[n]) for n in range(count))
    return Images(sources, problems, True)


def report_missing_channels(case: str, missing: Sequence[str], file: Path) -> DatasetError:
    """The problem of a case that lacks channels."""
    return DatasetError(
        f"missing {'channel' if len(missing) == 1 else 'channels'} {', '.join(missing)}",
        code="missing_channel",
        case=case,
        file=file,
        remedy="Add the file, or leave the case out",
    )


def drop_duplicates(files: Iterable[Path]) -> tuple[list[Path], list[DatasetError]]:
    """The files without those that are called the same but for their endings, and a problem for each such name."""
    files = list(files)
    times = Counter(map(stem_of, files))
    problems = []
    for stem in (stem for stem, number in times.items() if number > 1):
        same = [path for path in files if stem_of(path) == stem]
        problems.append(
            DatasetError(
                f"{' and '.join(path.name for path in same)} are files of one case",
                code="duplicate_case",
                case=stem,
                file=same[-1],
                remedy="Keep one of them",
            )
        )
    return [path for path in files if times[stem_of(path)] == 1], problems


def pair_masks(
    images: Mapping[str, tuple[ImageSource, ...]], masks: Mapping[str, MaskSource], known: Collection[str] = ()
) -> tuple[list[Case], list[DatasetError]]:
    """Give each case its mask.

    Args:
        images: each case's channels.
        masks: masks by the stem of their file; ``p01_mask`` is also found for the case ``p01``.
        known: further cases that have a problem of their own already.
    Returns:
        the cases sorted by name, those without a mask too; and a problem for each mask without an image.
    """
    by_case = {stem: mask for stem, mask in masks.items() if stem in images or stem in known}
    twice: list[DatasetError] = []
    for stem, mask in masks.items():
        short = strip_mask_word(stem)
        if stem in by_case or short not in images:
            continue
        if short in by_case:
            # Which one is right nobody can know, so the case is not used.
            twice.append(_report_twice(short, by_case[short], mask))
        by_case.setdefault(short, mask)
    doubtful = {problem.case for problem in twice}
    used = {id(mask) for mask in by_case.values()} | {id(masks[stem]) for stem in masks if _is_named(stem, doubtful)}
    orphans = [
        DatasetError(
            "a mask without an image",
            code="orphan_mask",
            case=stem,
            file=mask.path,
            remedy="Add the image under the same name, or remove the mask",
        )
        for stem, mask in masks.items()
        if id(mask) not in used
    ]
    cases = [Case(name, images[name], by_case.get(name)) for name in sorted(images) if name not in doubtful]
    return cases, [*twice, *orphans]


def _is_named(stem: str, cases: Collection[str | None]) -> bool:
    return stem in cases or strip_mask_word(stem) in cases


def _report_twice(case: str, one: MaskSource, other: MaskSource) -> DatasetError:
    return DatasetError(
        f"{one.path.name} and {other.path.name} are masks of one case",
        code="ambiguous_mask",
        case=case,
        file=other.path,
        remedy="Keep one of them",
    )


def common_keys(found: Iterable[Collection[str]]) -> tuple[str, ...]:
    """The set of keys (channels, stems) that most cases have, sorted; the larger and then the first of equals."""
    counts = Counter(tuple(sorted(keys)) for keys in found)
    return min(counts, key=lambda keys: (-counts[keys], -len(keys), keys), default=())
