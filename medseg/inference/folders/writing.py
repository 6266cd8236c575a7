"""Masks and probabilities as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medseg.core.dataset import Case
from medseg.core.disk import explain_write
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Volume
from medseg.inference.predictor import Prediction
from medseg.io import write_segmentation, write_volume
from medseg.io.files import PICTURE_ENDINGS, split_ending
from medseg.io.probabilities import FOLDER, name_channels, name_files

ENDINGS = {"nifti": ".nii.gz", "mha": ".mha", "nrrd": ".nrrd"}
# What is written for a hospital's archive, of scans that came from one.
OBJECTS = {"dicom-seg": ".seg.dcm", "rtstruct": ".rtstruct.dcm", "sr": ".sr.dcm"}
# The mask where the segmentation under the usual name holds probabilities, which a report or a picture is not of.
MASK_APART = ".mask.seg.dcm"
# A folder a case with a picture a key slice.
KEY_PICTURES = "key_pictures"
DICOM_FORMATS = (*OBJECTS, "key-pictures")


def parse_formats(text: str) -> tuple[str, ...]:
    """``nifti,dicom-seg`` as names of formats; raises DatasetError where one is not known."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in ENDINGS and name not in DICOM_FORMATS:
            known = ", ".join((*ENDINGS, *DICOM_FORMATS))
            raise DatasetError(f"unknown format {name!r}", code="format", remedy=f"Known: {known}")
    return names


def write_prediction(
    prediction: Prediction,
    case: Case,
    output: Path,
    formats: Sequence[str],
    labels: LabelScheme,
    *,
    save_probabilities: bool = False,
) -> list[str]:
    """Write a case's mask and, where they are asked for, its probabilities, a file per channel of the first format.

    Args:
        prediction: of the case.
        case: whose name the files get; a picture's mask is a picture.
        output: the folder.
        formats: those of ``ENDINGS`` are written here; probabilities are NIfTI where there is none of them.
        labels: the model's.
        save_probabilities: whether those are written, which the prediction then has.
    Returns:
        the files' names within the folder.
    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    geometry = prediction.segmentation.geometry
    is_picture = split_ending(case.images[0].path)[1] in PICTURE_ENDINGS and geometry.shape[2] == 1
    endings = [".png"] if is_picture else [ENDINGS[name] for name in formats if name in ENDINGS]
    probable = next((ENDINGS[name] for name in formats if name in ENDINGS), ENDINGS["nifti"])
    names = [f"{case.name}{ending}" for ending in endings]
    try:
        for name in names:
            write_segmentation(output / name, prediction.segmentation)
        if save_probabilities and prediction.probabilities is not None:
            channels = zip(name_channels(labels), name_files(labels), prediction.probabilities, strict=True)
            for channel, stem, array in channels:
                names.append(f"{FOLDER}/{case.name}/{stem}{probable}")
                write_volume(output / names[-1], Volume(array[None], geometry, (channel,)))
    except OSError as error:
        raise explain_write(error, output, case.name) from None
    return names
