"""The series of a tree as scans that masks lie on, for intensities and pictures."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.core.volume import Volume
from medseg.io.dicom.channel_rules import name_channel
from medseg.io.dicom.import_plan import number_patients
from medseg.io.dicom.read import read_series
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.scans import name_case
from medseg.io.dicom.series import DicomSeries
from medseg.io.dicom.suv import scale_to_suv


def find_dicom_images(path: str | Path, reading: DicomReading) -> dict[str, Case]:
    """The scans of a tree of DICOM files, by case.

    Args:
        path: the tree.
        reading: how series are read.
    Returns:
        a case per series, called as ``medseg predict`` calls it, with one channel called after its modality; PET in
        SUVbw where its header allows that.
    Raises:
        DatasetError: there is no series of images.
    """
    tree = reading.open_tree(Path(path))
    if not tree.images:
        raise DatasetError(
            f"no series of images among {tree.file_count} DICOM files", code="no_image", file=path,
            remedy=f"List what there is with medseg check {path}",
        )  # fmt: skip
    cases = [
        Case(
            name_case(series), tuple(ImageSource(file) for file in series.files), patient=patient, day=day,
            load=partial(_load, series, reading),
        )
        for series, patient, day in number_patients(tree.images)
    ]  # fmt: skip
    return {case.name: case for case in sorted(cases, key=lambda case: case.name)}


def _load(series: DicomSeries, reading: DicomReading) -> tuple[Volume, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    channel = name_channel(series.modality)
    if series.modality == "PT":
        try:
            planes, notes = scale_to_suv(series.planes)
            series = replace(series, planes=tuple(planes))
            channel = "PET SUVbw"
        except FormatError as error:
            # Not by a name that stands for SUV.
            channel = series.planes[0].scale.unit or "stored"
            notes = (f"its values stay in {channel}, without SUV: {error.reason}",)
    try:
        volume, _, more = read_series(series, tilt=reading.tilt, gaps=reading.gaps)
    except MedsegError as error:
        error.case = None  # the series calls itself by its description, the reader knows the case
        raise
    return Volume(volume.array, volume.geometry, (channel,)), (*notes, *more)
