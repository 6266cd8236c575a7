"""Reading masks and finding them in a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.files import list_folders, list_images, stem_of
from medseg.io.label_map import read_values, refuse_unknown, turn_to
from medseg.io.pairing import drop_duplicates
from medseg.io.structures import read_structures
from medseg.io.words import MASK_WORDS, is_helper_mask, split_set

DICOM_ENDING = ".dcm"


def read_segmentation(
    source: MaskSource | str | Path,
    *,
    labels: LabelScheme | None = None,
    like: Geometry | None = None,
    grid_of: str = "image",
    case: str = "",
    spacing_mm: Sequence[float] | None = None,
) -> Segmentation:
    """A label map, on the grid of its image or reference where one is given.

    Args:
        source: a label map, a DICOM SEG (``.dcm``), or a folder with a binary file per structure.
        labels: which values are allowed; any where None. Structures and a SEG's segments paint their label's value;
            where None 1, 2, ... in the order of their names, and the segments' numbers.
        like: that grid; a mask whose axes are merely in another order or direction is turned to it.
        grid_of: whose grid ``like`` is, for messages.
        case: for messages.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        the label map, uint8 or uint16.
    Raises:
        FormatError: a file is missing, damaged or of an unknown kind.
        GeometryError: the mask lies on another grid than ``like``.
        DatasetError: a value is fractional, negative, too large or not among ``labels``; structures overlap.
    """
    source = source if isinstance(source, MaskSource) else MaskSource(Path(source))
    try:
        if source.structures:
            return read_structures(source, labels, like, spacing_mm, grid_of=grid_of)
        if source.path.suffix.lower() == DICOM_ENDING:
            from medseg.io.dicom.seg_read import read_seg_mask

            return read_seg_mask(source.path, labels=labels, like=like).segmentation
        values, geometry = read_values(source.path, spacing_mm)
        if labels is not None:
            refuse_unknown(values, labels, source.path)
        return turn_to(values, geometry, like, source.path, grid_of=grid_of)
    except MedsegError as error:
        raise error.for_case(case) from None


def find_masks(path: str | Path, problems: list[MedsegError] | None = None) -> dict[str, MaskSource]:
    """The masks in a folder, by case.

    Args:
        path: a folder of label maps, or of DICOM SEG where there is none; a folder with a folder per case, each with a
            label map or a file per structure; a data set's root, whose folder of masks is taken; or one mask.
        problems: where to put cases that have two masks, which then are left out; raised where None.
    Returns:
        each case's mask, sorted by case.
    Raises:
        FormatError: the path does not exist.
        DatasetError: there is no mask, or, without ``problems``, two files are called the same but for their endings.
    """
    path = Path(path)
    if path.is_file():
        return {_name_dicom(path) if path.suffix.lower() == DICOM_ENDING else stem_of(path): MaskSource(path)}
    if not path.is_dir():
        raise FormatError("neither a folder nor a file", code="missing_file", file=path, remedy="Check the path")
    files, twice = drop_duplicates(list_images(path))
    if twice and problems is None:
        raise twice[0]
    if problems is not None:
        problems += twice
    maps = {stem_of(file): MaskSource(file) for file in files} or _find_segs(path)
    folders = [] if maps else list_folders(path)
    named = [folder for folder in folders if split_set(folder.name)[0] in MASK_WORDS]
    if len(named) == 1:
        return find_masks(named[0], problems)
    for folder in folders:
        source = find_case_mask(folder)
        if source is not None:
            maps[folder.name] = source
    if not maps:
        raise DatasetError(
            "no mask found", code="no_masks", file=path, remedy="Give a folder of label maps CASE.nii.gz"
        )
    return dict(sorted(maps.items()))


def _find_segs(folder: Path) -> dict[str, MaskSource]:
    """DICOM files by case, but for those that ``medseg predict`` writes beside a SEG."""
    files = (file for file in sorted(folder.iterdir()) if file.suffix.lower() == DICOM_ENDING and file.is_file())
    return {_name_dicom(file): MaskSource(file) for file in files if not file.stem.endswith((".sr", ".rtstruct"))}


def _name_dicom(file: Path) -> str:
    return file.stem.removesuffix(".seg")


def find_case_mask(folder: Path) -> MaskSource | None:
    """The mask in one case's folder: the file called so, the only file, or all of them as structures; None if empty."""
    files = [file for file in list_images(folder) if not is_helper_mask(stem_of(file))]
    stems = (re.sub(rf"^{re.escape(folder.name)}[ _.-]+", "", stem_of(file)) for file in files)
    called = [file for file, stem in zip(files, stems, strict=True) if stem.lower() in MASK_WORDS]
    if len(called) == 1 or len(files) == 1:
        return MaskSource((called or files)[0])
    if files:
        return MaskSource(folder, tuple((stem_of(file), file) for file in files))
    return None
