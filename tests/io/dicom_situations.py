"""What series are like in real archives, one situation each: what becomes of every file is known beforehand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from medseg.io.dicom.uids import derive_uid
from tests.io import dicom_series as made
from tests.io.dicom_damages import DAMAGES
from tests.io.dicom_series import CORONAL, MR, PET, SAGITTAL, Plane, build, pile, save, turn, write
from tests.io.dicom_situation import Situation, each, slices

RESAMPLE, INTERPOLATE = {"tilt": "resample"}, {"gaps": "interpolate"}
SITUATIONS: dict[str, Situation] = {}


def _add(
    name: str,
    make: Callable[[Path], object],
    counts: tuple[int, ...] = (),
    codes: tuple[str, ...] = (),
    unused: int = 0,
    **options: str,
) -> None:
    assert name not in SITUATIONS
    SITUATIONS[name] = Situation(make, counts, codes, unused, options=options)


def _named(planes: list[Plane], pattern: str) -> list[Plane]:
    return [replace(plane, name=pattern.format(number)) for number, plane in enumerate(planes)]


def _volumes(keyword: str, values: list[object], **changes: object) -> list[Plane]:
    """As many volumes at one place as there are values, told apart by one attribute and by their offset."""
    planes = []
    for number, value in enumerate(values):
        header = {"SOPClassUID": MR, "Modality": "MR", "RescaleType": None, keyword: value}
        planes += pile(offset=100.0 * number, header=header, **changes)
    return planes


def _shift(planes: list[Plane], index: int) -> list[Plane]:
    planes[index] = replace(planes[index], position=planes[index].position + np.array([2.0, 0, 0]))
    return planes


# Orientation and order
_add("axial", slices(pile()), (8,))
_add("coronal", slices(pile(axes=CORONAL)), (8,))
_add("sagittal", slices(pile(axes=SAGITTAL)), (8,))
_add("oblique", slices(pile(axes=turn(17, -23))), (8,))
_add("upside down, rows to the right", slices(pile(axes=np.diag([-1.0, 1, -1]))), (8,))
_add("from head to feet", slices(pile(step_mm=-3)), (8,))
_add("instance numbers reversed", slices(pile()[::-1]), (8,))
_add("instance numbers shuffled", slices([pile()[number] for number in (3, 0, 7, 1, 6, 2, 5, 4)]), (8,))
_add("instance numbers all one", slices(each(pile(), "InstanceNumber", [1] * 8)), (8,))
_add("instance numbers absent", slices(each(pile(), "InstanceNumber", [None] * 8)), (8,))
_add("positions with two decimals", slices(pile(places_mm=np.round(np.arange(9) * 0.7144, 2))), (9,))
_add("micrometres apart", slices(pile(step_mm=0.05, spacing=(0.05, 0.05))), (8,))

# Headers that contradict the positions
_add("thickness of overlapping slices", slices(pile(header={"SliceThickness": 5})), (8,))
_add("thickness absent", slices(pile(header={"SliceThickness": None})), (8,))
_add("stated distance wrong", slices(pile(header={"SpacingBetweenSlices": 9})), (8,))
_add("slice locations wrong", slices(each(pile(), "SliceLocation", [5, 1, 1, 9, 0, 2, 4, 4])), (8,))
_add("stated tilt, upright pile", slices(pile(header={"GantryDetectorTilt": 12})), (8,))

# Slices that are missing, uneven, leaning
_add("a slice is missing", slices(pile(places_mm=[0, 3, 6, 12, 15])), (), ("missing_slice",))
_add(
    "a slice is missing, interpolated",
    slices(pile(places_mm=[0, 3, 6, 12, 15])),
    (6,),
    gaps="interpolate",
)
_add("three are missing", slices(pile(places_mm=[0, 3, 6, 12, 15, 24])), (), ("missing_slice",))
_add("a wide gap", slices(pile(places_mm=[0, 3, 6, 120])), (), ("gap_too_wide",), gaps="interpolate")
_add("distances vary", slices(pile(places_mm=[0, 3, 6, 10.5, 15])), (), ("varying_spacing",))
_add("distances vary, interpolated", slices(pile(places_mm=[0, 3, 6, 10.5, 15])), (6,), gaps="interpolate")
_add("distances grow", slices(pile(places_mm=[0, 3, 6.1, 9.3, 12.6, 16])), (), ("varying_spacing",))
_add("tilted", slices(pile(tilt_degrees=18.5)), (), ("tilted",))
_add("tilted, straightened", slices(pile(tilt_degrees=18.5)), (8,), tilt="resample")
_add("tilted the other way", slices(pile(tilt_degrees=-7, axes=turn(4, 0))), (8,), tilt="resample")
_add(
    "tilted and uneven", slices(pile(tilt_degrees=15, places_mm=[0, 3, 6, 9, 15])), (6,),
    tilt="resample", gaps="interpolate",
)  # fmt: skip
_add("a slice shifted sideways", slices(_shift(pile(), 4)), (), ("shifted_slice",))
_add("a single slice", slices(pile(1)), (1,))
_add("two slices, thick as their distance", slices(pile(2)), (2,))
_add("two slices far apart", slices(pile(2, step_mm=12)), (), ("too_few_slices",))


# Slices more than once
def _copies(at: Path) -> None:
    for path in write(at / "a", pile()):
        (at / "b").mkdir(exist_ok=True)
        (at / "b" / f"copy of {path.stem}").write_bytes(path.read_bytes())


def _same_place(at: Path) -> None:
    planes = pile()
    write(at, [*planes, planes[3]])


def _two_versions(at: Path) -> None:
    planes = [plane.but(SOPInstanceUID=derive_uid("same", str(number))) for number, plane in enumerate(pile())]
    write(at, [*planes, replace(planes[3], offset=1.0)])


_add("every file twice", _copies, (8,), unused=8)
_add("two slices at one position", _same_place, (), ("same_position",))
_add("one instance in two versions", _two_versions, (), ("two_versions",))

# Several things in one series
_add("one slice of another orientation", slices(pile(), pile(1, axes=CORONAL)), (),
     ("mixed_orientation",))  # fmt: skip
_add("slices that turn", slices(pile(4), pile(4, axes=turn(3, 0))), (), ("mixed_orientation",))
_add("three orientations", slices(pile(), pile(7, axes=CORONAL), pile(6, axes=SAGITTAL)), (6, 7, 8))
_add("one slice of another size", slices(pile(), pile(1, shape=(9, 9))), (), ("mixed_size",))
_add("two sizes", slices(pile(), pile(6, shape=(9, 9), origin=(0, 0, 99))), (6, 8))
_add("one slice of another pixel spacing", slices(pile(), pile(1, spacing=(1.0, 1.0))), (),
     ("mixed_spacing",))  # fmt: skip
_add(
    "two frames of reference",
    slices(pile(), pile(6, header={"FrameOfReferenceUID": "1.2.3"})),
    (6, 8),
)
_add("two patients", slices(pile(5), pile(3, origin=(-11, -7, 35), header={"PatientID": "4711"})), (),
     ("two_patients",))  # fmt: skip
_add(
    "a name written in two ways",
    slices(each(pile(), "PatientName", ["MUSTER^ERIKA", "Muster^Erika^^"] * 4)),
    (8,),
)
_add(
    "two studies",
    slices(pile(4), pile(4, origin=(-11, -7, 32), header={"StudyInstanceUID": "1.2.3"})),
    (),
    ("two_studies",),
)
_add("two series in one folder", slices(pile(), pile(offset=50, header={"SeriesInstanceUID": "1.2.3"})),
     (8, 8))  # fmt: skip

# Volumes at one place
_add("echoes", slices(_volumes("EchoTime", [4.6, 9.2, 13.8])), (8, 8, 8))
_add("times", slices(_volumes("TemporalPositionIdentifier", [1, 2, 3, 4])), (8, 8, 8, 8))
_add("b values", slices(_volumes("DiffusionBValue", [0.0, 800.0])), (8, 8))
_add(
    "magnitude and phase",
    slices(_volumes("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]])),
    (8, 8),
)
_add("acquisitions", slices(_volumes("AcquisitionNumber", [1, 2])), (8, 8))
_add(
    "a slice of one time is missing",
    slices([plane for number, plane in enumerate(_volumes("TemporalPositionIdentifier", [1, 2])) if number != 11]),
    (8,), ("missing_slice",),
)  # fmt: skip


def _staggered(at: Path, keyword: str, values: Callable[[int, int], str]) -> None:
    """Three volumes of which every slice has a time of its own."""
    header = {"SOPClassUID": MR, "Modality": "MR"}
    planes = [
        plane.but(**{keyword: values(volume, index)})
        for volume in range(3)
        for index, plane in enumerate(pile(offset=100.0 * volume, header=header))
    ]
    write(at, planes)


_add("acquisition times by slice", lambda at: _staggered(
    at, "AcquisitionTime", lambda volume, k: f"1012{10 + 10 * volume + k}.25"),
     (8, 8, 8))  # fmt: skip
_add("trigger times by slice", lambda at: _staggered(at, "TriggerTime", lambda v, k: f"{200 * v + 7 * k}.5"), (8, 8, 8))
_add("echoes at several times", slices(*(
    [
        plane.but(TemporalPositionIdentifier=time, SOPInstanceUID=derive_uid(str(time), str(number)))
        for number, plane in enumerate(_volumes("EchoTime", [5.0, 10.0]))
    ]
    for time in (1, 2)
)), (8, 8, 8, 8))  # fmt: skip
_add("two acquisitions behind one another", slices(
    pile(5), pile(6, origin=(-11, -7, 40), step_mm=5, header={"AcquisitionNumber": 2, "SliceThickness": 5})
), (5, 6))  # fmt: skip
_add("two acquisitions that go on evenly", slices(
    pile(5), pile(5, origin=(-11, -7, 35), header={"AcquisitionNumber": 2})
), (10,))  # fmt: skip


def _interleave(planes: list[Plane]) -> list[Plane]:
    """Every second slice of another acquisition, as scanners take them to avoid cross-talk."""
    return [plane.but(AcquisitionNumber=1 + number % 2) for number, plane in enumerate(planes)]


_add("interleaved acquisitions", slices(_interleave(pile())), (8,))
_add(
    "interleaved, a slice is missing", slices(_interleave(pile())[:5], _interleave(pile())[6:]), (), ("missing_slice",)
)
_add("one slice acquired twice", slices(pile(), [pile()[3].but(AcquisitionNumber=2, AcquisitionTime="120000")]), (),
     ("same_position",))  # fmt: skip
_add("two overlapping acquisitions", slices(
    pile(8), pile(8, origin=(-11, -7, 39.5), header={"AcquisitionNumber": 2})
), (8, 8))  # fmt: skip


# Files that are no slices
def _beside(*others: Dataset) -> Callable[[Path], None]:
    def make(at: Path) -> None:
        write(at, pile())
        for number, data in enumerate(others):
            save(at / f"other{number}", data)

    return make


def _odd(**header: object) -> Dataset:
    return build(Plane(np.zeros(3), header={"SOPInstanceUID": derive_uid(*map(str, header)), **header}), 99)


_add("a localizer", _beside(_odd(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])), (8,), unused=1)
_add("a localizer by its description", _beside(_odd(SeriesDescription="Scout 3-plane")), (8,), unused=1)
_add("a screenshot", _beside(_odd(
    SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8,
    BitsStored=8, HighBit=7, PixelRepresentation=0, PlanarConfiguration=0, ImagePositionPatient=None,
    PixelData=bytes(190),
)), (8,), unused=1)  # fmt: skip
_add("a dose report without a place", _beside(_odd(
    SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None
)), (8,), unused=1)  # fmt: skip
_add("a structured report and a presentation state", _beside(
    _odd(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", Modality="SR", Rows=None, Columns=None),
    _odd(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR", Rows=None, Columns=None),
), (8,), unused=2)  # fmt: skip
_add("a mosaic", _beside(_odd(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])), (8,), unused=1)


def _no_dicom(at: Path) -> None:
    write(at / "deep" / "er", pile())
    for name, content in (("DICOMDIR.txt", b"x"), ("empty", b""), (".DS_Store", b"\0\0\0\1Bud1"), ("a.dcm", b"<html>")):
        (at / name).write_bytes(content)
    (at / "loop").symlink_to(at)


_add("files that are no DICOM, a loop of links", _no_dicom, (8,), unused=4)


# Damaged files and headers
def _damage(at: Path, change: Callable[[bytes], bytes]) -> None:
    path = write(at, pile())[2]
    path.write_bytes(change(path.read_bytes()))


def _nest(content: bytes) -> bytes:
    """A private sequence of 2000 levels of undefined length in front of the last elements."""
    deep = struct.pack("<HH2sHI", 0x0009, 0x1010, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    at = content.index(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    return content[:at] + deep * 2000 + content[at:]


def _lengthen(content: bytes) -> bytes:
    """Rows as an element of four gigabytes."""
    at = content.index(struct.pack("<HH2s", 0x0028, 0x0010, b"US"))
    return content[:at] + struct.pack("<HH2sHI", 0x0028, 0x0010, b"OB", 0, 0xFFFFFFF0) + content[at + 8 :]


_add("a truncated file", lambda at: _damage(at, lambda content: content[:-40]), (), ("truncated",), unused=1)
_add("sequences nested without end", lambda at: _damage(at, _nest), (), ("too_deep",), unused=1)
_add("a length of four gigabytes", lambda at: _damage(at, _lengthen), (), ("truncated",), unused=1)
_add("a slice without position", slices(pile()[:5], [pile()[5].but(ImagePositionPatient=None)], pile()[6:]), (),
     ("no_place",), unused=1)  # fmt: skip
_add(
    "a position that is no number",
    lambda at: _damage(at, lambda content: content.replace(b"-11\\-7\\26 ", b"-11\\nan\\26")), (),
    ("bad_header",), unused=1,
)  # fmt: skip
_add("an orientation that is none", slices(pile(header={"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]})), (),
     ("bad_orientation",))  # fmt: skip
_add("an absurd pixel spacing", slices(pile(header={"PixelSpacing": [9e9, 9e9]})), (), ("absurd_spacing",))


def _odd_texts(at: Path) -> None:
    header = {"PatientName": "<script>^../../etc", "SeriesDescription": "ä\nb<i>", "SpecificCharacterSet": "ISO_IR 100"}
    for path in write(at, pile(header=header)):
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 666"))


_add("names with HTML and a character set that is none", _odd_texts, (8,))


# Ways to write a file
def _bare(at: Path) -> None:
    """Neither preamble nor file header."""
    at.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(pile()):
        build(plane, number).save_as(at / f"IMG{number}", implicit_vr=True, little_endian=True)


def _compress(syntax: str) -> Callable[[Path], None]:
    def make(at: Path) -> None:
        for number, plane in enumerate(pile(shape=(40, 36), spacing=(0.5, 0.5))):
            data = build(plane, number)
            save(at / f"{number}.dcm", data)
            data.compress(syntax, generate_instance_uid=False)
            data.save_as(at / f"{number}.dcm")

    return make


def _big_endian(at: Path) -> None:
    for number, plane in enumerate(pile()):
        data = build(plane, number)
        data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        save(at / f"{number}.dcm", data, ExplicitVRBigEndian)


_add("no ending", slices(_named(pile(), "{:08d}")), (8,))
_add("no preamble", _bare, (8,))
_add("implicit", lambda at: write(at, pile(), ImplicitVRLittleEndian), (8,))
_add("big endian", _big_endian, (8,))
_add("deflated", lambda at: write(at, pile(), DeflatedExplicitVRLittleEndian), (8,))
_add("RLE", _compress(RLELossless), (8,))
_add("JPEG 2000", _compress(JPEG2000Lossless), (8,))
_add("unsigned, 12 bits", slices(pile(header={
    "PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11, "RescaleIntercept": 40, "RescaleSlope": 1 / 16
})), (8,))  # fmt: skip
_add("a scale per slice", slices([
    plane.but(SOPClassUID=PET, Modality="PT", RescaleSlope=slope, Units="BQML", RescaleType=None)
    for plane, slope in zip(pile(), np.linspace(0.01, 0.06, 8).round(4), strict=True)
]), (8,))  # fmt: skip
_add("MONOCHROME1", slices(pile(header={"PhotometricInterpretation": "MONOCHROME1"})), (8,))
_add("series description in Japanese", slices(pile(header={
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "SeriesDescription": "胸部"
})), (8,))  # fmt: skip


def _enhance(at: Path) -> None:
    """One multi-frame file with functional groups."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    sources = [build(plane, number) for number, plane in enumerate(pile(), 1)]
    for data in sources:
        data.file_meta = made.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = made.ExplicitVRLittleEndian
        data.PatientSex, data.AccessionNumber, data.Manufacturer, data.PatientOrientation = "", "", "", ["L", "P"]
    image = LegacyConvertedEnhancedCTImage(sources, derive_uid("enhanced"), 4, derive_uid("enhanced file"), 1)
    at.mkdir(parents=True, exist_ok=True)
    image.save_as(at / "all")


_add("enhanced multi-frame", _enhance, (8,))
SITUATIONS |= DAMAGES
