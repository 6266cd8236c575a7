"""Finding the images to segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource
from medseg.core.errors import DatasetError, MedsegError
from medseg.io.channels import count_channels, split_colours
from medseg.io.dicom.recognition import tell_mixture
from medseg.io.files import is_image_name, list_images, split_channel, stem_of
from medseg.io.layouts import read_layout, refuse_names
from medseg.io.pairing import group_images

_ABOUT_MASKS = ("orphan_mask", "ambiguous_mask")


def find_inputs(path: str | Path, channel_count: int) -> Dataset:
    """The cases to segment at a path, without masks; no image is read.

    Args:
        path: an image; a folder of images; or a data set, whose test cases are taken where it has some, else all cases.
        channel_count: how many channels the model needs.
    Returns:
        the cases; ``layout`` says how the path was read, and cases that lack a channel are ``problems``.
    Raises:
        DatasetError: there is nothing, or no image.
        FormatError: a data set's ``dataset.json`` or table is damaged.
    """
    path = Path(path)
    unread = tell_mixture(path)
    if path.is_dir() and list_images(path):
        dataset = _read_images(path, list_images(path), channel_count)
    elif path.is_file() and is_image_name(path):
        dataset = _read_single(path, channel_count)
    else:
        dataset = _read_dataset(path)
    dataset = split_colours(refuse_names(replace(dataset, layout=dataset.layout + unread)), channel_count)
    return _require_channels(dataset, channel_count)


def _read_images(folder: Path, files: Sequence[Path], count: int) -> Dataset:
    images = group_images(files, count=count)
    if images.suffixed:
        reading = f"a folder of images, {count} channel{'s' if count > 1 else ''} by four-digit suffix"
    else:
        reading = "a folder of images, a case per file"
        if any(split_channel(stem_of(file)) for file in files):
            wanted = f"those of {count} channels, 0000 to {count - 1:04d}" if count > 1 else "0000, of one channel"
            reading += f" (the numbers at their ends belong to the names, as they are not all {wanted})"
    return Dataset(
        root=folder,
        name=folder.name,
        layout=reading,
        cases=tuple(Case(name, images.sources[name]) for name in sorted(images.sources)),
        problems=tuple(images.problems),
    )


def _read_single(file: Path, count: int) -> Dataset:
    parts = split_channel(stem_of(file))
    if count > 1 and parts is not None:
        siblings = [path for path in list_images(file.parent) if split_channel(stem_of(path)) is not None]
        own = [path for path in siblings if (split_channel(stem_of(path)) or ("", 0))[0] == parts[0]]
        dataset = _read_images(file.parent, own, count)
        return replace(dataset, root=file, name=parts[0], layout="an image with its channels beside it")
    # As in a folder: 0000 is the suffix of an only channel, unless there are more.
    name = stem_of(file)
    if parts is not None and parts[1] == 0:
        others = {split_channel(stem_of(path)) for path in list_images(file.parent)}
        name = parts[0] if (parts[0], 1) not in others else name
    return Dataset(root=file, name=name, layout="one image", cases=(Case(name, (ImageSource(file),)),))


def _read_dataset(path: Path) -> Dataset:
    dataset = read_layout(path)
    chosen, what = (dataset.test_cases, "test cases") if dataset.test_cases else (dataset.cases, "all cases")
    problems: list[MedsegError] = [problem for problem in dataset.problems if problem.code not in _ABOUT_MASKS]
    return replace(
        dataset,
        layout=f"{what} of a data set ({dataset.layout})",
        cases=tuple(replace(case, mask=None) for case in chosen),
        test_cases=(),
        problems=tuple(problems),
        labels=None,
    )


def _require_channels(dataset: Dataset, count: int) -> Dataset:
    kept: list[Case] = []
    problems: list[MedsegError] = list(dataset.problems)
    for case in dataset.cases:
        first = case.images[0]
        if len(case.images) == 1 and count > 1 and first.index is None and count_channels(first.path) == count:
            kept.append(replace(case, images=tuple(ImageSource(first.path, n) for n in range(count))))
        elif len(case.images) == count:
            kept.append(case)
        else:
            problems.append(
                DatasetError(
                    f"{len(case.images)} channel{'s' if len(case.images) > 1 else ''}, the model needs {count}",
                    code="missing_channel" if len(case.images) < count else "channel_count",
                    case=case.name,
                    file=first.path,
                    remedy=f"Name the files of each channel CASE_0000 to CASE_{count - 1:04d}",
                )
            )
    return replace(dataset, cases=tuple(kept), problems=tuple(problems))
