"""Masks and probabilities as files."""

from __future__ import annotations

from pathlib import Path

from medseg.core.dataset import Case
from medseg.core.disk import explain_write
from medseg.core.labels import LabelScheme
from medseg.core.volume import Volume
from medseg.inference.predictor import Prediction
from medseg.io import write_segmentation, write_volume
from medseg.io.files import PICTURE_ENDINGS, split_ending
from medseg.io.probabilities import FOLDER, name_channels, name_files

ENDINGS = {"nifti": ".nii.gz", "mha": ".mha", "nrrd": ".nrrd"}


def write_prediction(
    prediction: Prediction, case: Case, output: Path, file_format: str, labels: LabelScheme
) -> list[str]:
    """Write a case's mask and, where there are some, its probabilities, a file per channel of the same format.

    Args:
        prediction: of the case.
        case: whose name the files get; a picture's mask is a picture.
        output: the folder.
        file_format: ``nifti``, ``mha`` or ``nrrd``.
        labels: the model's.
    Returns:
        the files' names within the folder.
    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    geometry = prediction.segmentation.geometry
    is_picture = split_ending(case.images[0].path)[1] in PICTURE_ENDINGS and geometry.shape[2] == 1
    names = [f"{case.name}{'.png' if is_picture else ENDINGS[file_format]}"]
    try:
        write_segmentation(output / names[0], prediction.segmentation)
        if prediction.probabilities is not None:
            channels = zip(name_channels(labels), name_files(labels), prediction.probabilities, strict=True)
            for channel, stem, array in channels:
                names.append(f"{FOLDER}/{case.name}/{stem}{ENDINGS[file_format]}")
                write_volume(output / names[-1], Volume(array[None], geometry, (channel,)))
    except OSError as error:
        raise explain_write(error, output, case.name) from None
    return names
