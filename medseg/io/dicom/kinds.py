"""What a DICOM object is: a plane of a scan, a reference, or something that no volume is made of."""

from __future__ import annotations

import re

from medseg.core.errors import show_name
from medseg.io.dicom.headers import COLOURS, FrameHeader

# What a series can be here.
IMAGE, SEGMENTATION, CONTOURS = "image", "segmentation", "contours"
# What lists the files of a disc (DICOMDIR): of no series.
DIRECTORY = "1.2.840.10008.1.3.10"

REFERENCE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.66.7": SEGMENTATION,  # label maps
    "1.2.840.10008.5.1.4.1.1.481.3": CONTOURS,
}
# Objects with pixels that are no measurement of the patient, or not on a grid of the patient's world.
_NO_SCAN = {
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose distribution",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
    "1.2.840.10008.5.1.4.1.1.481.1": "a projection, which has no slices",
}
_PROJECTIONS = frozenset(
    ("CR", "DX", "MG", "IO", "PX", "RF", "XA", "RTIMAGE", "US", "IVUS", "ES", "GM", "SM", "XC", "OP")
)
_LOCALIZER_WORDS = re.compile(
    r"(?<![a-z])(?:localizers?|localisers?|scouts?|topograms?|surviews?|surveys?|plane[ _-]?loc)(?![a-z])",
    re.IGNORECASE,
)
_LOCALIZER_TYPES = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"))
_PICTURE_TYPES = {"SCREEN SAVE": "a screenshot", "DOSE_INFO": "a dose report", "MOSAIC": (
    "a Siemens mosaic, many slices in one picture"
)}  # fmt: skip


def name_kind(header: FrameHeader) -> tuple[str, str]:
    """What the object of a file is.

    Args:
        header: of the file.
    Returns:
        the kind (``image``, ``segmentation``, ``contours``) and an empty text; or an empty kind and why no volume is
        made of it.
    """
    kind = REFERENCE_CLASSES.get(header.sop_class_uid, "")
    if kind:
        return kind, ""
    reason = _find_reason(header)
    return ("", reason) if reason else (IMAGE, "")


def _find_reason(header: FrameHeader) -> str:
    pixels = header.pixels
    if pixels is None:
        return f"no image but {_name_class(header)}"
    if header.sop_class_uid in _NO_SCAN:
        return _NO_SCAN[header.sop_class_uid]
    words = {word.upper() for word in header.moment.image_type}
    for word, reason in _PICTURE_TYPES.items():
        if word in words:
            return reason
    if pixels.samples != 1 or pixels.photometric in COLOURS:
        return f"a picture in colours ({pixels.photometric or 'unnamed'}), as screenshots are"
    if words & _LOCALIZER_TYPES:
        return "a localizer, by its image type"
    if _LOCALIZER_WORDS.search(header.description):
        return "a localizer, by its description"
    if header.modality in _PROJECTIONS:
        return f"an image of modality {header.modality}, which has no slices"
    if pixels.frames == 1 and header.place is None:
        return "a picture without a place: it states no position, orientation or spacing"
    return ""


def _name_class(header: FrameHeader) -> str:
    from pydicom.uid import UID

    name = UID(header.sop_class_uid).name if header.sop_class_uid else "an object of no class"
    return f"{show_name(name[:80])} ({show_name(header.modality[:16]) or 'no modality'})"
