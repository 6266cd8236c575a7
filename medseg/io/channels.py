"""How many channels a file holds, told from its header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.channel_rules import rename_rules
from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError, MedsegError
from medseg.io.files import NIFTI_ENDINGS, PICTURE_ENDINGS, split_ending

_COLOURS = ("red", "green", "blue")


def count_channels(path: Path) -> int | None:
    """How many channels a picture or a NIfTI file holds, by its header; None where it cannot be told."""
    ending = split_ending(path)[1]
    try:
        if ending in PICTURE_ENDINGS:
            from medseg.io.pictures import count_picture_channels

            return count_picture_channels(path)
        if ending in NIFTI_ENDINGS:
            from medseg.io.nifti import read_nifti_header

            return read_nifti_header(path).volumes
    except MedsegError:
        return None  # reading the file will say what is wrong with it
    return None


def split_colours(dataset: Dataset, count: int | None = None) -> Dataset:
    """The data set with a source per colour, where its images are coloured pictures.

    Args:
        dataset: as its layout was read.
        count: how many channels each case must have; as many as the most colourful picture has where None.
    Returns:
        the data set; a grey picture stands in every channel, and a picture with other colours has become a problem.
    """
    single = [case for case in (*dataset.cases, *dataset.test_cases) if _is_one_picture(case)]
    held = {case.images[0].path: count_channels(case.images[0].path) or 1 for case in single}
    wanted = count or max(held.values(), default=1)
    if wanted == 1 or not held:
        return dataset
    odd = [case for case in single if held[case.images[0].path] not in (1, wanted)]
    grey = sum(channels == 1 for channels in held.values())
    notes = dataset.notes
    if grey and wanted > 1:
        notes = (*notes, f"{grey} of {len(held)} pictures are grey; they stand in all {wanted} channels")
    return replace(
        dataset,
        cases=tuple(_split_picture(case, held, wanted) for case in dataset.cases if case not in odd),
        test_cases=tuple(_split_picture(case, held, wanted) for case in dataset.test_cases if case not in odd),
        channels=_COLOURS if wanted == len(_COLOURS) and len(dataset.channels) <= 1 else dataset.channels,
        problems=(*dataset.problems, *(_report_colours(case, held[case.images[0].path], wanted) for case in odd)),
        notes=notes,
    )


def _is_one_picture(case: Case) -> bool:
    first = case.images[0]
    return len(case.images) == 1 and first.index is None and split_ending(first.path)[1] in PICTURE_ENDINGS


def _split_picture(case: Case, held: Mapping[Path, int], wanted: int) -> Case:
    path = case.images[0].path
    if path not in held or not _is_one_picture(case):
        return case
    indices = range(wanted) if held[path] == wanted else (0,) * wanted
    return replace(case, images=tuple(ImageSource(path, n) for n in indices))


def _report_colours(case: Case, found: int, wanted: int) -> DatasetError:
    return DatasetError(
        f"the picture has {found} channels, expected {wanted}",
        code="channel_count",
        case=case.name,
        file=case.images[0].path,
        remedy="Convert it to grey or RGB as the others",
    )


def _spread(case: Case, count: int) -> Case:
    return replace(case, images=tuple(ImageSource(case.images[0].path, n) for n in range(count)))


def spread_volumes(dataset: Dataset, count: int) -> Dataset | None:
    """The data set with ``count`` sources per case out of its 4D files; None where its files are not so."""
    cases = (*dataset.cases, *dataset.test_cases)
    if not cases or any(len(case.images) != 1 for case in cases) or count_channels(cases[0].images[0].path) != count:
        return None
    return replace(
        dataset,
        cases=tuple(_spread(case, count) for case in dataset.cases),
        test_cases=tuple(_spread(case, count) for case in dataset.test_cases),
    )


def rename_channels(dataset: Dataset, wanted: Sequence[str]) -> Dataset:
    """The data set with the channels that the user named.

    Args:
        dataset: as its layout was read.
        wanted: names that the data set has, to choose and order them; or as many new names as it has channels.
    Returns:
        the data set with these channels.
    Raises:
        DatasetError: the names are not those, nor as many as there are channels, or one is given twice.
    """
    wanted = tuple(wanted)
    found = dataset.channels
    if len(set(wanted)) != len(wanted) or not all(wanted):
        raise DatasetError(f"--channels {','.join(wanted)} names a channel twice or not at all", code="bad_channels")
    if found and set(wanted) <= set(found):
        order = [found.index(name) for name in wanted]
        return replace(
            dataset,
            cases=tuple(_choose(case, order) for case in dataset.cases),
            test_cases=tuple(_choose(case, order) for case in dataset.test_cases),
            channels=wanted,
            channel_rules=tuple(dataset.channel_rules[n] for n in order if dataset.channel_rules),
        )
    counts = {len(case.images) for case in (*dataset.cases, *dataset.test_cases)}
    if counts <= {len(wanted)}:
        return replace(dataset, channels=wanted, channel_rules=rename_rules(dataset.channel_rules, wanted))
    spread = spread_volumes(dataset, len(wanted))
    if spread is not None:
        return replace(spread, channels=wanted)
    has = ", ".join(found) or " or ".join(map(str, sorted(counts)))
    raise DatasetError(
        f"--channels names {len(wanted)} ({', '.join(wanted)}), the data set has {has}",
        code="bad_channels",
        file=dataset.root,
        remedy="Give one name per channel, or some of the names it has",
    )


def _choose(case: Case, order: Sequence[int]) -> Case:
    return replace(case, images=tuple(case.images[n] for n in order))
