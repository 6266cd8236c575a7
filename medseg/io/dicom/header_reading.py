"""Reading the header of one file, without its pixels and without what names a patient."""

from __future__ import annotations

import hashlib
import math
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import FormatError
from medseg.io.dicom.elements import Elements, read_elements
from medseg.io.dicom.fields import Fields, read_time
from medseg.io.dicom.headers import COLOURS, GREYS, FrameHeader, Moment, PixelFormat, Place, Scale
from medseg.io.dicom.kinds import REFERENCE_CLASSES

_CHARACTER_SET, _IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE = 0x00080005, 0x00080008, 0x00080016, 0x00080018
_STUDY_DATE, _ACQUISITION_DATE_TIME, _ACQUISITION_TIME = 0x00080020, 0x0008002A, 0x00080032
_MODALITY, _DESCRIPTION = 0x00080060, 0x0008103E
_NAME, _PATIENT, _BIRTH_DATE = 0x00100010, 0x00100020, 0x00100030
_THICKNESS, _ECHO_TIME, _INVERSION_TIME, _ECHO_NUMBER = 0x00180050, 0x00180081, 0x00180082, 0x00180086
_TRIGGER_TIME, _TILT, _B_VALUE = 0x00181060, 0x00181120, 0x00189087
_SIEMENS_OWNER, _SIEMENS_B_VALUE, _GE_OWNER, _GE_B_VALUE = 0x00190010, 0x0019100C, 0x00430010, 0x00431039
_STUDY, _SERIES, _SERIES_NUMBER, _ACQUISITION, _INSTANCE = 0x0020000D, 0x0020000E, 0x00200011, 0x00200012, 0x00200013
_POSITION, _ORIENTATION, _FRAME_OF_REFERENCE, _TEMPORAL = 0x00200032, 0x00200037, 0x00200052, 0x00200100
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_SPACING, _ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PADDING, _PADDING_LIMIT, _INTERCEPT, _SLOPE, _RESCALE_TYPE = 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054
_UNITS, _SLICE_COUNT = 0x00541001, 0x00540081

WANTED = frozenset(
    (
        *(_CHARACTER_SET, _IMAGE_TYPE, _SOP_CLASS, _SOP_INSTANCE, _STUDY_DATE, _ACQUISITION_DATE_TIME),
        *(_ACQUISITION_TIME, _MODALITY, _DESCRIPTION, _NAME, _PATIENT, _BIRTH_DATE, _THICKNESS, _ECHO_TIME),
        *(_INVERSION_TIME, _ECHO_NUMBER, _TRIGGER_TIME, _TILT, _B_VALUE, _SIEMENS_OWNER, _SIEMENS_B_VALUE, _GE_OWNER),
        *(_GE_B_VALUE, _STUDY, _SERIES, _SERIES_NUMBER, _ACQUISITION, _INSTANCE, _POSITION, _ORIENTATION),
        *(_FRAME_OF_REFERENCE, _TEMPORAL, _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _SPACING, _ALLOCATED),
        *(
            _STORED,
            _HIGH_BIT,
            _SIGNED,
            _PADDING,
            _PADDING_LIMIT,
            _INTERCEPT,
            _SLOPE,
            _RESCALE_TYPE,
            _UNITS,
            _SLICE_COUNT,
        ),
    )
)
# CT, MR, PET and their enhanced and converted forms, secondary captures: what has no pixels there was cut off.
_IMAGE_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{number}"
    for number in ("2", "2.1", "2.2", "4", "4.1", "4.3", "4.4", "7", "20", "128", "128.1", "130")
)
# GE adds this to the b values of some protocols.
_GE_B_OFFSET = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ReadHeader:
    """What came of reading one file's header.

    Args:
        path: the file.
        header: None where the file is no DICOM, or where ``problem`` says why it cannot be used.
        problem: None where there is none.
        series_uid: which series the file claims to belong to; empty where it does not say.
        damaged: of an image or reference with a problem, what names it and its series: a header without pixels, place.
    """

    path: Path
    header: FrameHeader | None
    problem: FormatError | None = None
    series_uid: str = ""
    damaged: FrameHeader | None = None


def read_header(path: Path) -> ReadHeader:
    """The header of a file; nothing is raised for what is wrong with it.

    Args:
        path: a plain file.
    Returns:
        its header, or what is wrong with it; neither where it is no DICOM. The header of a multi-frame file is that of
        the whole file, with the number 0 and mostly without a place.
    """
    try:
        elements = read_elements(path, WANTED)
    except FormatError as error:
        return ReadHeader(path, None, error)
    if elements is None:
        return ReadHeader(path, None)
    fields = Fields(elements, path)
    series_uid = fields.code(_SERIES)
    if elements.problem is not None:
        return _keep_names(fields, series_uid, elements.problem)
    try:
        return ReadHeader(path, _parse_header(fields, series_uid, _read_format(fields)), None, series_uid)
    except FormatError as error:
        return _keep_names(fields, series_uid, error)


def _keep_names(fields: Fields, series_uid: str, problem: FormatError) -> ReadHeader:
    """What of a damaged file says whose it is; it serves to tell what is damaged."""
    is_one = series_uid and fields.code(_SOP_CLASS) in _IMAGE_CLASSES.union(REFERENCE_CLASSES)
    damaged = _parse_header(fields, series_uid, None) if is_one else None
    return ReadHeader(fields.path, None, problem, series_uid, damaged)


def _parse_header(fields: Fields, series_uid: str, pixels: PixelFormat | None) -> FrameHeader:
    return FrameHeader(
        path=fields.path,
        number=0,
        sop_class_uid=fields.code(_SOP_CLASS),
        sop_instance_uid=fields.code(_SOP_INSTANCE),
        series_uid=series_uid,
        study_uid=fields.code(_STUDY),
        frame_of_reference_uid=fields.code(_FRAME_OF_REFERENCE),
        modality=fields.code(_MODALITY),
        description=fields.text(_DESCRIPTION),
        series_number=fields.integer(_SERIES_NUMBER),
        instance_number=fields.integer(_INSTANCE),
        pixels=pixels,
        place=_read_place(fields) if pixels is not None else None,
        scale=_read_scale(fields, pixels) if pixels is not None else Scale(),
        moment=_read_moment(fields),
        patient=(_digest(fields, _PATIENT), _digest(fields, _NAME), _digest(fields, _BIRTH_DATE)),
        study_date=fields.code(_STUDY_DATE),
        slice_count=_read_stored(fields, _SLICE_COUNT, False),
    )


def _digest(fields: Fields, tag: int) -> str:
    """What tells two values apart without keeping either; blanks, case and empty parts of a name do not count."""
    raw = fields.bytes_of(tag)
    if not raw.isascii():  # who writes an object for a scan may write the same letters in another character set
        raw = unicodedata.normalize("NFKC", fields.text(tag)).encode()
    value = b" ".join(raw.upper().rstrip(b"^= ").split())
    return hashlib.blake2b(value, digest_size=16).hexdigest() if value else ""


def _read_format(fields: Fields) -> PixelFormat | None:
    elements = fields.elements
    rows, columns = fields.short(_ROWS), fields.short(_COLUMNS)
    is_image = fields.code(_SOP_CLASS) in _IMAGE_CLASSES or rows is not None or columns is not None
    if not elements.keyword and not is_image:
        return None
    if not elements.keyword:
        raise FormatError(
            "an image without pixels: the file ends before them", code="no_pixels", file=fields.path,
            remedy="Fetch it again",
        )  # fmt: skip
    if not rows or not columns:
        raise FormatError(
            f"it declares {rows or 0} rows and {columns or 0} columns", code="bad_shape", file=fields.path,
            remedy="Fetch it again",
        )  # fmt: skip
    allocated = fields.short(_ALLOCATED) or 16
    stored = fields.short(_STORED) or allocated
    frames = fields.integer(_FRAMES)
    high_bit = fields.short(_HIGH_BIT)
    pixels = PixelFormat(
        transfer_syntax_uid=elements.transfer_syntax_uid,
        rows=rows,
        columns=columns,
        frames=1 if frames is None else frames,
        samples=fields.short(_SAMPLES) or 1,
        photometric=fields.code(_PHOTOMETRIC),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        signed=fields.short(_SIGNED) == 1,
        keyword=elements.keyword,
        offset=elements.offset,
        size=elements.size,
    )
    _check_format(pixels, elements, fields)
    return pixels


def _check_format(pixels: PixelFormat, elements: Elements, fields: Fields) -> None:
    if pixels.frames < 1:
        raise FormatError(
            f"it declares {pixels.frames} frames, expected 1 or more", code="bad_shape", file=fields.path,
            remedy="Export it again",
        )  # fmt: skip
    if (
        not pixels.bits_stored <= pixels.bits_allocated
        or not pixels.bits_stored - 1 <= pixels.high_bit < pixels.bits_allocated
    ):
        raise FormatError(
            f"it declares {pixels.bits_stored} of {pixels.bits_allocated} bits up to bit {pixels.high_bit}",
            code="bad_data_type", file=fields.path, remedy="Export the series again",
        )  # fmt: skip
    if pixels.photometric and pixels.photometric not in COLOURS.union(GREYS):
        raise fields.refuse(_PHOTOMETRIC, "MONOCHROME2 or another of the standard's", fields.bytes_of(_PHOTOMETRIC))
    if pixels.photometric in GREYS and pixels.samples != 1:
        raise FormatError(
            f"it declares grey levels ({pixels.photometric}) of {pixels.samples} values each, expected 1",
            code="bad_header", file=fields.path, remedy="Export the series again",
        )  # fmt: skip
    if elements.size is not None and pixels.photometric in GREYS:
        values = pixels.rows * pixels.columns * pixels.samples * pixels.frames
        declared = math.ceil(values * pixels.bits_allocated / 8)
        if elements.size < declared:
            raise FormatError(
                f"it holds {elements.size} bytes of pixels, expected {declared}", code="truncated", file=fields.path,
                remedy="Fetch it again",
            )  # fmt: skip
    if elements.offset is not None and elements.size is not None:
        end = elements.offset + elements.size
        if end > elements.file_bytes:
            raise FormatError(
                f"the file is truncated: {elements.file_bytes} bytes of {end}", code="truncated", file=fields.path,
                remedy="Fetch it again",
            )  # fmt: skip


def _read_place(fields: Fields) -> Place | None:
    position, orientation = fields.numbers(_POSITION, 3), fields.numbers(_ORIENTATION, 6)
    spacing = fields.numbers(_SPACING, 2)
    if position is None or orientation is None or spacing is None:
        return None
    if min(spacing) <= 0:
        raise fields.refuse(_SPACING, "two positive numbers", fields.bytes_of(_SPACING))
    x, y, z = position
    a, b, c, d, e, f = orientation
    return Place(
        (x, y, z),
        (a, b, c, d, e, f),
        (spacing[0], spacing[1]),
        fields.loose_number(_THICKNESS),
        fields.loose_number(_TILT),
    )


def _read_scale(fields: Fields, pixels: PixelFormat) -> Scale:
    slope, intercept = fields.number(_SLOPE), fields.number(_INTERCEPT)
    first, last = (_read_stored(fields, tag, pixels.signed) for tag in (_PADDING, _PADDING_LIMIT))
    padding = None
    if first is not None:
        last = first if last is None else last
        padding = (min(first, last), max(first, last))
    return Scale(
        1.0 if slope is None else slope,
        0.0 if intercept is None else intercept,
        fields.code(_UNITS) or fields.code(_RESCALE_TYPE),
        padding,
        (slope is not None, intercept is not None),
    )


def _read_stored(fields: Fields, tag: int, signed: bool) -> int | None:
    raw = fields.elements.values.get(tag, b"")
    if len(raw) != 2:
        return None
    return int(struct.unpack(fields.elements.order + ("h" if signed else "H"), raw)[0])


def _read_moment(fields: Fields) -> Moment:
    return Moment(
        image_type=fields.codes(_IMAGE_TYPE),
        acquisition_number=fields.integer(_ACQUISITION),
        echo_number=fields.integer(_ECHO_NUMBER),
        temporal_position=fields.integer(_TEMPORAL),
        echo_time_ms=fields.loose_number(_ECHO_TIME),
        inversion_time_ms=fields.loose_number(_INVERSION_TIME),
        trigger_time_ms=fields.loose_number(_TRIGGER_TIME),
        b_value=_read_b_value(fields),
        time_s=_read_acquisition_time(fields),
    )


def _read_acquisition_time(fields: Fields) -> float | None:
    stated = fields.seconds(_ACQUISITION_TIME)
    return stated if stated is not None else read_time(fields.bytes_of(_ACQUISITION_DATE_TIME)[8:])


def _read_b_value(fields: Fields) -> float | None:
    stated = fields.double(_B_VALUE)
    if stated is not None:
        return stated
    if fields.bytes_of(_SIEMENS_OWNER) == b"SIEMENS MR HEADER":
        return fields.loose_number(_SIEMENS_B_VALUE)
    if fields.bytes_of(_GE_OWNER) == b"GEMS_PARM_01":
        first = fields.bytes_of(_GE_B_VALUE).split(b"\\")[0]
        return float(int(first) % _GE_B_OFFSET) if first.isdigit() else None
    return None
