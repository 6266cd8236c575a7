"""nnU-Net's ``dataset_fingerprint.json`` and ``dataset.json`` as a fingerprint of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field

from medseg.core.errors import FormatError
from medseg.core.fingerprint import CaseFingerprint, Fingerprint, IntensityStatistics
from medseg.core.labels import LabelScheme
from medseg.core.records import Record, read_json

# nnU-Net's readers in the order in which it tries them, and the files each reads. It opens an example to choose between
# pictures and stacks in .tif; the fingerprint's shapes say the same.
READERS = {
    "NaturalImage2DIO": (".png", ".bmp", ".tif"),
    "SimpleITKIO": (".nii.gz", ".nrrd", ".mha", ".gipl"),
    "Tiff3DIO": (".tif", ".tiff"),
    "NibabelIO": (".nii", ".nii.gz"),
    "NibabelIOWithReorient": (".nii", ".nii.gz"),
}
PICTURE_READERS = ("NaturalImage2DIO", "Tiff3DIO")
TURNING_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")  # their arrays run along k, j, i of RAS
# Where our i, j, k stand in the arrays of nnU-Net's readers; our pictures have rows along i and columns along j.
VOLUME_PLACES, PICTURE_PLACES = (2, 1, 0), (1, 2, 0)
# nnU-Net calls a data set after its raw folder.
FOLDER_NAME = re.compile(r"Dataset\d{3}_.+")

Length = Annotated[int, Field(ge=1, le=2**20)]
Millimetres = Annotated[float, Field(gt=0, le=1e7)]  # pictures get 999 times their pixel's size as a third spacing

Part = TypeVar("Part", bound=Record)


class _Kept(Record):
    """The entries that are read, among others."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Intensities(_Kept):
    max: float
    mean: float
    median: float
    min: float
    percentile_00_5: float
    percentile_99_5: float
    std: Annotated[float, Field(ge=0)]


class _FingerprintFile(_Kept):
    foreground_intensity_properties_per_channel: dict[str, _Intensities]
    median_relative_size_after_cropping: Annotated[float, Field(ge=0, le=1)]
    shapes_after_crop: Annotated[list[tuple[Length, Length, Length]], Field(min_length=1)]
    spacings: list[tuple[Millimetres, Millimetres, Millimetres]]


class _DatasetFile(_Kept):
    channel_names: Annotated[dict[str, str], Field(min_length=1)]
    labels: dict[str, int | list[int]]
    name: str = ""
    numTraining: Annotated[int, Field(ge=1)] | None = None  # noqa: N815 - the file's word
    regions_class_order: list[int] | None = None
    file_ending: str = ""
    overwrite_image_reader_writer: str = "None"


@dataclass(frozen=True)
class NnunetData:
    """A data set as nnU-Net describes it.

    Args:
        fingerprint: as ours; the cases have numbers for names.
        name: what nnU-Net calls the data set.
        training_cases: how many it counts.
        label_entries: how many it counts, with the background and the ignore label.
        reader: its reader; empty where the file's ending is not known.
        intensities: the foreground's per channel, as they stand in its file.
    """

    fingerprint: Fingerprint
    name: str
    training_cases: int
    label_entries: int
    reader: str
    intensities: dict[str, dict[str, float]]


def read_nnunet_data(fingerprint: str | Path, dataset_json: str | Path, *, as_read: bool = False) -> NnunetData:
    """The data set that nnU-Net fingerprinted.

    Args:
        fingerprint: its ``dataset_fingerprint.json``.
        dataset_json: its ``dataset.json``.
        as_read: keep the axes in the reverse order of nnU-Net's arrays for pictures too, whose files we read otherwise.
    Returns:
        the data set; its axes are those of our readers: i, j, k are the last, middle and first axis of volumes.
    Raises:
        FormatError: a file is missing or damaged, or they do not fit one another.
        DatasetError: the labels make no scheme.
    """
    content = _read_object(fingerprint)
    described = _parse(_DatasetFile, _modernise(_read_object(dataset_json)), dataset_json)
    measured = _parse(_FingerprintFile, content, fingerprint)
    _check_numbers(measured, described, fingerprint)
    reader = _choose_reader(described, measured)
    name = _find_name(dataset_json, fingerprint) or described.name
    places = PICTURE_PLACES if reader in PICTURE_READERS and not as_read else VOLUME_PLACES
    order = [str(number) for number in range(len(described.channel_names))]
    statistics = measured.foreground_intensity_properties_per_channel
    converted = Fingerprint(
        dataset=name,
        channels=tuple(described.channel_names[key] for key in order),
        labels=LabelScheme.make(described.labels, paint_order=described.regions_class_order),
        cases=_convert_cases(measured, places, "RAS" if reader in TURNING_READERS else ""),
        intensities=tuple(_convert_statistics(statistics[key]) for key in order),
        cropped_share=measured.median_relative_size_after_cropping,
    )
    return NnunetData(
        fingerprint=converted,
        name=name,
        training_cases=described.numTraining or len(converted.cases),
        label_entries=len(described.labels),
        reader=reader,
        intensities=content["foreground_intensity_properties_per_channel"],
    )


def _read_object(path: str | Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise FormatError("expected an object", code="bad_record", file=path)
    return content


def _parse(kind: type[Part], content: Any, path: str | Path) -> Part:
    try:
        return kind.parse(content, file=path)
    except FormatError as error:
        raise FormatError(
            error.reason[:300], code="bad_record", file=path, remedy="Give the file as nnU-Net wrote it"
        ) from None


def _modernise(content: Mapping[str, Any]) -> dict[str, Any]:
    """With ``channel_names`` where an older file calls them ``modality``."""
    found = dict(content)
    found.setdefault("channel_names", content.get("modality"))
    return found


def _check_numbers(measured: _FingerprintFile, described: _DatasetFile, path: str | Path) -> None:
    shapes, spacings = len(measured.shapes_after_crop), len(measured.spacings)
    if shapes != spacings:
        raise FormatError(f"{shapes} shapes for {spacings} spacings", code="bad_record", file=path)
    expected = {str(number) for number in range(len(described.channel_names))}
    found = set(measured.foreground_intensity_properties_per_channel)
    if not expected == set(described.channel_names) == found:
        raise FormatError(
            f"intensities of the channels {', '.join(sorted(found)) or 'none'}, expected "
            f"{', '.join(sorted(described.channel_names))} of dataset.json, numbered 0, 1, ...",
            code="bad_record",
            file=path,
            remedy="Give the dataset.json of the same data set",
        )


def _choose_reader(described: _DatasetFile, measured: _FingerprintFile) -> str:
    if described.overwrite_image_reader_writer in (*READERS, *TURNING_READERS):
        return described.overwrite_image_reader_writer
    flat = all(shape[0] == 1 for shape in measured.shapes_after_crop)
    for reader, endings in READERS.items():
        if described.file_ending.lower() in endings and (flat or reader != "NaturalImage2DIO"):
            return reader
    return ""


def _find_name(dataset_json: str | Path, fingerprint: str | Path) -> str:
    folders = [Path(path).absolute().parent.name for path in (dataset_json, fingerprint)]
    return next((folder for folder in folders if FOLDER_NAME.fullmatch(folder)), "")


def _convert_cases(
    measured: _FingerprintFile, places: tuple[int, int, int], orientation: str
) -> tuple[CaseFingerprint, ...]:
    cases = []
    for number, (shape, spacing) in enumerate(zip(measured.shapes_after_crop, measured.spacings, strict=True)):
        i, j, k = places
        turned = (shape[i], shape[j], shape[k])
        cases.append(
            CaseFingerprint(
                case=f"case_{number:05d}",
                patient=f"case_{number:05d}",
                day=None,
                shape=turned,
                spacing_mm=(spacing[i], spacing[j], spacing[k]),
                cropped_shape=turned,
                label_ml={},
                orientation=orientation,
            )
        )
    return tuple(cases)


def _convert_statistics(found: _Intensities) -> IntensityStatistics:
    return IntensityStatistics(
        mean=found.mean,
        sd=found.std,
        median=found.median,
        minimum=found.min,
        maximum=found.max,
        percentile_00_5=found.percentile_00_5,
        percentile_99_5=found.percentile_99_5,
    )
