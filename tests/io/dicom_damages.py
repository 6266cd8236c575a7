"""Situations of damaged, wiped and half-copied series, as anonymisers, archives and disks leave them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from tests.io.dicom_series import MR, Plane, build, fill, identify, pile, save, turn, write
from tests.io.dicom_situation import Situation, each, slices

_WIPED = dict.fromkeys(
    (
        *("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyTime", "StudyInstanceUID", "SeriesNumber"),
        *("SeriesDescription", "InstanceNumber", "AcquisitionNumber", "FrameOfReferenceUID"),
    )
)
_LOST = "empty or damaged file beside it"


def _each_file(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(at: Path) -> None:
        for path in write(at, pile()):
            path.write_bytes(change(path.read_bytes()))

    return make


def _last_file(content: bytes) -> Callable[[Path], None]:
    return lambda at: write(at, pile())[-1].write_bytes(content) and None


def _one(index: int, **header: object) -> Callable[[Path], object]:
    """A series of which one slice has another header around the same stored values."""
    planes = pile()
    stored = np.rint(fill(planes[index]) * 32).astype("<i2").tobytes()
    planes[index] = planes[index].but(PixelData=stored, **header)
    return slices(planes)


def _beside(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A sound series with other files in its folder."""

    def both(at: Path) -> None:
        write(at, pile())
        make(at)

    return both


def _companions(at: Path) -> None:
    for path in sorted(at.iterdir()):
        (at / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(80))


def _packed(at: Path) -> None:
    for path in write(at / "packed", pile(header={"SeriesInstanceUID": "1.2.3.4"})):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


def _directory(at: Path) -> None:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.FileSetID = "1.2.840.10008.1.3.10", "1.2.3.5", "CD1"
    save(at / "DICOMDIR", data)


def _plans(at: Path) -> None:
    for name, number, modality in (("plan", "481.5", "RTPLAN"), ("dose", "481.2", "RTDOSE")):
        plane = Plane(np.zeros(3), header={"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{number}", "Modality": modality})
        rows = {"Rows": None, "Columns": None} if name == "plan" else {}
        save(at / name, build(plane.but(**rows, SeriesInstanceUID=f"1.2.3.{len(name)}"), 1))


def _two_folders(at: Path) -> None:
    planes = pile()
    write(at / "part 1", planes[:4])
    write(at / "part 2", planes[4:], start=5)


def _links(at: Path) -> None:
    """Links in one folder to slices in another: each is a copy of its slice."""
    for path in write(at / "b", pile()):
        (at / path.name).symlink_to(path)
    (at / "gone").symlink_to(at / "nowhere")


def _fill_up(at: Path) -> None:
    """Every second file's series UID, of odd length, ends with a blank where the others have a zero."""
    for path in write(at, pile(header={"SeriesInstanceUID": "1.2.3.891"}))[::2]:
        content = path.read_bytes()
        assert b"1.2.3.891\0" in content
        path.write_bytes(content.replace(b"1.2.3.891\0", b"1.2.3.891 "))


def _undecodable(at: Path) -> None:
    path = write(at, pile())[3]
    os.rename(path, os.fsencode(path.parent) + b"/im\xff\xfe.dcm")  # noqa: PTH104 (no Path holds such a name)


def _garbage(syntax: str) -> Callable[[Path], None]:
    """Compressed slices, of which one holds no codestream."""

    def make(at: Path) -> None:
        for number, plane in enumerate(pile(shape=(40, 36), spacing=(0.5, 0.5))):
            data = build(plane, number)
            save(at / f"{number}.dcm", data)
            data.compress(syntax, generate_instance_uid=False)
            if number == 4:
                data.PixelData = encapsulate([bytes(range(256)) * 4])
            data.save_as(at / f"{number}.dcm")

    return make


def _floats(value: float | None) -> Callable[[Path], None]:
    def make(at: Path) -> None:
        for number, plane in enumerate(pile(header={"RescaleSlope": None, "RescaleIntercept": None})):
            data = build(plane, number)
            array = fill(plane).astype("<f4")
            if number == 3 and value is not None:
                array[2, 3] = value
            del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
            data.BitsAllocated, data.FloatPixelData = 32, array.tobytes()
            save(at / f"{number}.dcm", data)

    return make


def _rounded() -> list[Plane]:
    """300 oblique slices whose orientation is written with three decimals: together they seem to lean."""
    header = {"PixelRepresentation": 0, "RescaleIntercept": -200}
    planes = pile(300, axes=turn(17, -23), step_mm=1.2, spacing=(0.7, 0.7), header=header)
    return [plane.but(ImageOrientationPatient=[f"{x:.3f}" for x in plane.axes[:2].ravel()]) for plane in planes]


def _signs() -> list[Plane]:
    """Slices without negative values written as unsigned ones."""
    planes = pile(origin=(20, 20, 20))
    return each(planes, "PixelRepresentation", [1, 1, 0, 1, 1, 1, 1, 1])


DAMAGES: dict[str, Situation] = {
    # Files
    "a series in two folders": Situation(_two_folders, (8,)),
    "links to slices, and to nothing": Situation(_links, (8,), unused=9),
    "companion files of macOS": Situation(_beside(_companions), (8,), unused=8),
    "a series packed with gzip beside": Situation(_beside(_packed), (8,), unused=8),
    "a directory of a disc": Situation(_beside(_directory), (8,), unused=1),
    "a treatment plan and a dose": Situation(_beside(_plans), (8,), unused=2),
    "a name that cannot be decoded": Situation(_undecodable, (), ("missing_slice",), 1),
    "the last file is empty": Situation(_last_file(b""), (7,), unused=1, says=_LOST),
    "the last file is zeros": Situation(_last_file(bytes(700)), (7,), unused=1, says=_LOST),
    "the last file is a web page": Situation(_last_file(b"<!DOCTYPE html>"), (7,), unused=1, says=_LOST),
    "the last file lost its mark": Situation(
        lambda at: _last_file(_unmark(write(at, pile())[-1].read_bytes()))(at), (7,), unused=1, says=_LOST
    ),
    "the last slice names another series": Situation(
        slices(pile()[:7], [pile()[7].but(SeriesInstanceUID="1.2.3.6")]), (1, 7), says="where its next slice would"
    ),
    # Headers that were wiped
    "nothing names patient, study and place": Situation(slices(pile(header=_WIPED)), (8,)),
    "no series is named": Situation(
        _beside(lambda at: write(at / "b", pile(header={"SeriesInstanceUID": None})) and None), (8,), unused=8
    ),
    "one instance UID for all": Situation(
        lambda at: write(at, pile(header={"SOPInstanceUID": identify("one")})), (), ("two_versions",)
    ),
    "positions wiped": Situation(slices(pile(header={"ImagePositionPatient": [0, 0, 0]})), (), ("same_position",)),
    "orientations wiped": Situation(
        slices(pile(header={"ImageOrientationPatient": [0] * 6})), (), ("bad_orientation",)
    ),
    "pixel spacing wiped": Situation(
        _beside(
            lambda at: write(at / "b", pile(header={"PixelSpacing": None, "SeriesInstanceUID": "1.2.3.7"})) and None
        ),
        (8,),
        unused=8,
    ),
    "UIDs filled up with blanks": Situation(_fill_up, (8,)),
    # Headers that hold no sound value
    "decimal commas": Situation(
        _each_file(lambda content: content.replace(b"1.5\\1.25", b"1,5\\1,25")), (), ("bad_header",)
    ),
    "pixel spacing of 0": Situation(slices(pile(header={"PixelSpacing": [0, 0]})), (), ("bad_header",)),
    "pixel spacing below 0": Situation(slices(pile(header={"PixelSpacing": [-1.5, 1.25]})), (), ("bad_header",)),
    "a slope of 0": Situation(slices(pile(header={"RescaleSlope": 0, "PixelData": bytes(126)})), (), ("bad_scale",)),
    "12 bits, packed": Situation(slices(pile(header={"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11})), (),
                                 ("bad_data_type",)),
    "more bits stored than allocated": Situation(slices(pile(header={"BitsStored": 17, "HighBit": 16})), (),
                                                 ("bad_data_type",)),
    "fewer pixels than stated": Situation(slices(pile(header={"PixelData": bytes(60)})), (), ("truncated",)),
    "more pixels than stated": Situation(slices(pile(header={"PixelData": b"\1" * 200})), (), ("wrong_size",)),
    "more frames than there are": Situation(slices(pile(1, header={"NumberOfFrames": 3})), (), ("truncated",)),
    "grey levels of three values": Situation(slices(pile(header={"SamplesPerPixel": 3})), (), ("bad_header",)),
    "no word for grey": Situation(slices(pile(header={"PhotometricInterpretation": None})), (8,)),
    "zero everywhere": Situation(slices(pile(header={"PixelData": bytes(126)})), (), ("constant_image",)),
    "floating-point values": Situation(_floats(None), (8,)),
    "NaN among floating-point values": Situation(_floats(float("nan")), (), ("not_finite",)),
    "garbage for a JPEG 2000 codestream": Situation(_garbage(JPEG2000Lossless), (), ("corrupt",)),
    "garbage for an RLE codestream": Situation(_garbage(RLELossless), (), ("corrupt",)),
    # One slice that departs from the others
    "a slice without the others' scale": Situation(_one(3, RescaleSlope=None), (), ("mixed_scale",)),
    "a slice whose scale its neighbours contradict": Situation(_one(3, RescaleSlope=4 / 32), (), ("mixed_scale",)),
    "a slice of another modality": Situation(_one(7, Modality="MR", SOPClassUID=MR), (), ("mixed_modality",)),
    "a slice with a damaged word for grey": Situation(_one(7, PhotometricInterpretation="MONOCHROMA2"), (),
                                                      ("bad_header",), 1),
    "a slice with rows and columns exchanged": Situation(_one(7, Rows=9, Columns=7), (), ("mixed_size",)),
    "signed slices and an unsigned one": Situation(slices(_signs()), (8,), says="states pixels of unsigned values"),
    "an orientation of three decimals": Situation(slices(_rounded()), (300,)),
    "two instances of one number": Situation(slices(each(pile(), "InstanceNumber", [1, 2, 3, 3, 5, 6, 7, 8])), (8,)),
    "slices moved by half a pixel": Situation(slices([
        replace(plane, position=plane.position + np.array([0.6 * (k % 2), 0, 0])) for k, plane in enumerate(pile())
    ]), (), ("shifted_slice",)),
}  # fmt: skip


def _unmark(content: bytes) -> bytes:
    return content[:128] + b"DICN" + content[132:]
