"""A file's elements parsed by pydicom, once their structure is known to be sound."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core.errors import FormatError
from medseg.io.dicom.bytes_window import REMEDY, inflate
from medseg.io.dicom.encoding import DEFLATED_LITTLE, PIXEL_KEYWORDS
from medseg.io.dicom.identity import quiet
from medseg.io.dicom.structure import check_structure

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def open_dataset(path: str | Path, keywords: Sequence[str] = ()) -> Dataset:
    """The elements of a file up to its pixels.

    Args:
        path: the file, deflated or not, with or without preamble.
        keywords: of the elements at the top level that are wanted, sequences with all they hold; all where empty.
    Returns:
        the elements; values are converted when they are asked for, within ``identity.quiet``.
    Raises:
        FormatError: no DICOM, truncated, damaged, or nested without end.
        ResourceError: a deflated data set that the memory cannot hold.
    """
    structure = check_structure(path)
    from pydicom import dcmread

    tags = list(keywords) or None
    with quiet():
        try:
            if structure.transfer_syntax_uid != DEFLATED_LITTLE:
                return dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
            # pydicom would inflate without end: here it is given what was inflated within the memory's bounds.
            return _parse_inflated(BytesIO(inflate(path, structure.start)), tags)
        except FormatError:
            raise
        except Exception as error:  # pydicom raises errors of every kind on damaged files
            raise FormatError(
                f"its elements cannot be read ({type(error).__name__})", code="corrupt", file=path, remedy=REMEDY
            ) from None


def load_dataset(path: str | Path) -> Dataset:
    """All elements of a file, its pixels too, for objects of our own that are sent on.

    Args:
        path: the file, not deflated.
    Returns:
        the data set with its file header.
    Raises:
        FormatError: no DICOM, truncated, damaged, or nested without end.
    """
    check_structure(path)
    from pydicom import dcmread

    with quiet():
        try:
            return dcmread(path)
        except Exception as error:
            raise FormatError(
                f"its elements cannot be read ({type(error).__name__})", code="corrupt", file=path, remedy=REMEDY
            ) from None


def _parse_inflated(content: BytesIO, keywords: list[str] | None) -> Dataset:
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag, Tag

    def stop(tag: BaseTag, _kind: str | None, _length: int) -> bool:
        return int(tag) in PIXEL_KEYWORDS

    tags: list[BaseTag | int] | None = None if keywords is None else [Tag(keyword) for keyword in keywords]
    return read_dataset(content, False, True, stop_when=stop, specific_tags=tags)
