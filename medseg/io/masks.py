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
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.recognition import is_dicom_tree, tell_mixture
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
    """A label map, on the grid of its image or reference where one is given; as ``read_mask``, without its notes.

    Args:
        source, labels, like, grid_of, case, spacing_mm: as ``read_mask`` takes them.
    Returns:
        the label map, uint8 or uint16.
    Raises:
        MedsegError: as ``read_mask``.
    """
    return read_mask(source, labels=labels, like=like, grid_of=grid_of, case=case, spacing_mm=spacing_mm)[0]


def read_mask(
    source: MaskSource | str | Path,
    *,
    labels: LabelScheme | None = None,
    like: Geometry | None = None,
    grid_of: str = "image",
    case: str = "",
    spacing_mm: Sequence[float] | None = None,
) -> tuple[Segmentation, tuple[str, ...]]:
    """A label map, on the grid of its image or reference where one is given, and what is doubtful about it.

    Args:
        source: a label map, a DICOM SEG (``.dcm``), or a folder with a binary file per structure.
        labels: which values are allowed; any where None. Structures and a SEG's segments paint their label's value;
            where None 1, 2, ... in the order of their names, and the segments' numbers.
        like: that grid; a mask whose axes are merely in another order or direction is turned to it.
        grid_of: whose grid ``like`` is, for messages.
        case: for messages.
        spacing_mm: for pictures, which seldom know theirs.
    Returns:
        the label map, uint8 or uint16; and a line for everything that was decided or is doubtful about structures and
        segments.
    Raises:
        FormatError: a file is missing, damaged or of an unknown kind.
        GeometryError: the mask lies on another grid than ``like``.
        DatasetError: a value is fractional, negative, too large or not among ``labels``; structures overlap.
    """
    source = source if isinstance(source, MaskSource) else MaskSource(Path(source))
    try:
        if source.drawing is not None:
            drawn, notes = source.drawing.draw(labels, like)
            return turn_to(drawn.array, drawn.geometry, like, source.path, grid_of=grid_of), notes
        if source.structures:
            return read_structures(source, labels, like, spacing_mm, grid_of=grid_of), ()
        if source.path.suffix.lower() == DICOM_ENDING:
            from medseg.io.dicom.seg_read import read_seg_mask

            mask = read_seg_mask(source.path, labels=labels, like=like)
            return mask.segmentation, mask.notes
        values, geometry = read_values(source.path, spacing_mm)
        if labels is not None:
            refuse_unknown(values, labels, source.path)
        return turn_to(values, geometry, like, source.path, grid_of=grid_of), ()
    except MedsegError as error:
        raise error.for_case(case) from None


def find_masks(
    path: str | Path, problems: list[MedsegError] | None = None, *, dicom: DicomReading | None = None
) -> dict[str, MaskSource]:
    """The masks in a folder, by case.

    Args:
        path: a folder of label maps; a folder with a folder per case, each with a label map or a file per structure; a
            data set's root, whose folder of masks is taken; or one mask. Where there is none of these, a tree of DICOM
            files with SEG or RTSTRUCT (``find_dicom_masks``).
        problems: where to put cases that have two masks, which then are left out, and DICOM masks that cannot be used;
            the first is raised where None.
        dicom: where the scans are that DICOM masks were drawn on, and which structures are wanted.
    Returns:
        each case's mask, sorted by case.
    Raises:
        FormatError: the path does not exist.
        DatasetError: there is no mask, or, without ``problems``, two files are called the same but for their endings.
    """
    path = Path(path)
    if not path.exists():
        raise FormatError("neither a folder nor a file", code="missing_file", file=path, remedy="Check the path")
    if _holds_dicom_masks(path):
        from medseg.io.dicom.drawn_masks import find_dicom_masks

        return find_dicom_masks(path, dicom or DicomReading(), problems)
    if path.is_file():
        return {stem_of(path): MaskSource(path)}
    tell_mixture(path)
    files, twice = drop_duplicates(list_images(path))
    if twice and problems is None:
        raise twice[0]
    if problems is not None:
        problems += twice
    maps = {stem_of(file): MaskSource(file) for file in files}
    folders = [] if maps else list_folders(path)
    named = [folder for folder in folders if split_set(folder.name)[0] in MASK_WORDS]
    if len(named) == 1:
        return find_masks(named[0], problems, dicom=dicom)
    for folder in folders:
        source = find_case_mask(folder)
        if source is not None:
            maps[folder.name] = source
    if not maps:
        raise DatasetError(
            "no mask found", code="no_masks", file=path, remedy="Give a folder of label maps CASE.nii.gz"
        )
    return dict(sorted(maps.items()))


def _holds_dicom_masks(path: Path) -> bool:
    """Whether a path is to be read as DICOM: it is all DICOM, or DICOM files lie in it and no label map beside them."""
    if path.is_dir() and not list_images(path) and any(path.glob(f"*{DICOM_ENDING}")):
        return True
    return is_dicom_tree(path)


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
