"""What the header of one plane says: of a file that holds a single one, or of one frame of a multi-frame file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# What the values of a pixel stand for (PhotometricInterpretation, PS3.3 C.7.6.3.1.2): one grey level, or colours.
GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = frozenset(
    (
        *("PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB", "YBR_FULL", "YBR_FULL_422"),
        *("YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
    )
)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a file keeps its pixels; all frames of a file share one.

    Args:
        transfer_syntax_uid: how the file is encoded.
        rows, columns: of one frame.
        frames: how many the file holds, 1 where it does not say.
        samples: values per pixel, 1 for grey levels and 3 for colours.
        photometric: what the values stand for, ``MONOCHROME2``, ``RGB``, ...
        bits_allocated, bits_stored, high_bit: of one value.
        signed: whether stored values are two's complement.
        keyword: the element that holds them: ``PixelData``, ``FloatPixelData``, ``DoubleFloatPixelData``; empty where
            the file has no pixels.
        offset: byte of the file at which that element's value begins; None where it is not known (a deflated file).
        size: bytes of that value; None where the file does not state them (compressed frames).
    """

    transfer_syntax_uid: str
    rows: int
    columns: int
    frames: int = 1
    samples: int = 1
    photometric: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    signed: bool = False
    keyword: str = "PixelData"
    offset: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plane lies in the patient's world, as DICOM has it (LPS), as the header states it.

    Args:
        position_mm: of the middle of its first voxel.
        orientation: cosines of the direction along a row (to the next column), then of that down the rows.
        spacing_mm: between rows, then between columns, as DICOM orders them.
        thickness_mm: of the slice; None where not stated. For messages only: it says nothing of where slices lie.
        tilt_degrees: of the gantry, as stated; None where not. For messages only.
    """

    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None = None
    tilt_degrees: float | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """What a stored value stands for.

    Args:
        slope, intercept: stored value times slope plus intercept is the real one.
        unit: of the real ones, as the header names it (``HU``, ``BQML``, ...); empty where it does not.
        padding: the stored values, first and last, that stand for no measurement; None where there are none.
        stated: whether the header states the slope, and the intercept; what it does not state is 1, and 0.
    """

    slope: float = 1.0
    intercept: float = 0.0
    unit: str = ""
    padding: tuple[int, int] | None = None
    stated: tuple[bool, bool] = (True, True)


@dataclass(frozen=True, slots=True)
class Moment:
    """What tells planes of one series apart that lie at one place: which echo, which time, which acquisition.

    Args:
        image_type: the values of ImageType, such as ``("ORIGINAL", "PRIMARY", "AXIAL")``, ``M`` or ``P`` among them.
        acquisition_number, echo_number, temporal_position: as stated; None where not.
        echo_time_ms, inversion_time_ms, trigger_time_ms, b_value: in milliseconds, milliseconds, milliseconds and
            s/mm2; None where not stated.
        time_s: of the acquisition, seconds since midnight; None where not stated.
        stack: which stack of a multi-frame file; empty where it names none.
    """

    image_type: tuple[str, ...] = ()
    acquisition_number: int | None = None
    echo_number: int | None = None
    temporal_position: int | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    trigger_time_ms: float | None = None
    b_value: float | None = None
    time_s: float | None = None
    stack: str = ""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """One plane's header.

    Args:
        path: the file.
        number: of the frame in a multi-frame file, from 1 on; 0 where the file holds a single one.
        sop_class_uid, sop_instance_uid, series_uid, study_uid, frame_of_reference_uid: as stated; empty where not.
        modality: CT, MR, PT, ...; empty where not stated.
        description: the series' name by the scanner's user: no one's identity, but free text, so shown with care.
        series_number, instance_number: None where not stated.
        pixels: how its pixels are kept; None where it has none (a report, a plan).
        place: where it lies; None where the header does not say (a screenshot) or says it only per frame.
        scale: what a stored value stands for.
        moment: which of several planes at its place it is.
        patient: digests of the patient's ID, name and date of birth, each empty where the file has none: enough to
            tell two patients, nothing that names one.
        study_date: YYYYMMDD as stated; empty where not.
        slice_count: how many slices a volume of the series has, as headers of PET state it; None where not stated.
    """

    path: Path
    number: int
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str = ""
    modality: str = ""
    description: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    pixels: PixelFormat | None = None
    place: Place | None = None
    scale: Scale = field(default_factory=Scale)
    moment: Moment = field(default_factory=Moment)
    patient: tuple[str, str, str] = field(default=("", "", ""), repr=False)
    study_date: str = field(default="", repr=False)
    slice_count: int | None = None

    @property
    def label(self) -> str:
        """For messages: the file's name, and which frame of it."""
        return f"{self.path.name} frame {self.number}" if self.number else self.path.name
