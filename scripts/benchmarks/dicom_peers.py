"""Reading a folder of DICOM files with other libraries, each as its documentation has it, and with medseg.

Each reader gives every volume that it makes of the folder: values (i, j, k) and the affine to millimetres in RAS+.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Found = list[tuple[np.ndarray, np.ndarray]]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_with_medseg(folder: Path, options: dict[str, str]) -> Found:
    """``find_series`` and ``read_series`` of every image; what is refused is left out."""
    from medseg.core.errors import MedsegError
    from medseg.io.dicom.grouping import find_series
    from medseg.io.dicom.read import read_series

    found: Found = []
    for series in find_series(folder).images:
        try:
            volume, _, _ = read_series(series, **options)
        except MedsegError:
            continue
        found.append((volume.array[0], volume.geometry.affine))
    return found


def read_with_simpleitk(folder: Path, _: dict[str, str]) -> Found:
    """``ImageSeriesReader`` for every series that GDCM finds in every folder."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    found: Found = []
    for inner in _list_folders(folder):
        for series in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(inner)):
            names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(inner), series)
            try:
                image = SimpleITK.ReadImage(names)
            except RuntimeError:
                continue
            if image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() == 1:
                found.append((SimpleITK.GetArrayFromImage(image).T, _affine_of(image)))
    return found


def _affine_of(image: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS @ affine


def read_with_dcm2niix(folder: Path, _: dict[str, str]) -> Found:
    """The program on the whole folder; every NIfTI file that it writes."""
    program = shutil.which("dcm2niix") or str(Path(sys.executable).with_name("dcm2niix"))
    with tempfile.TemporaryDirectory() as output:
        command = [program, "-b", "n", "-z", "n", "-d", "9", "-o", output, str(folder)]
        subprocess.run(command, check=False, capture_output=True, timeout=60)
        return list(_load_niftis(Path(output)))


def read_with_dicom2nifti(folder: Path, _: dict[str, str]) -> Found:
    """``convert_directory`` with its own checks."""
    from dicom2nifti.convert_dir import convert_directory

    with tempfile.TemporaryDirectory() as output:
        convert_directory(str(folder), output, compression=False, reorient=False)
        return list(_load_niftis(Path(output)))


def _load_niftis(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    import nibabel

    for path in sorted(folder.glob("*.nii")):
        image: Any = nibabel.load(path)
        array = np.asarray(image.dataobj, np.float64)
        if array.ndim == 2:
            array = array[..., None]
        for index in range(array.shape[3] if array.ndim == 4 else 1):
            yield (array[..., index] if array.ndim == 4 else array), image.affine


def read_with_monai(folder: Path, _: dict[str, str]) -> Found:
    """``LoadImage`` with ``PydicomReader`` on every folder that holds files."""
    from monai.transforms import LoadImage

    load = LoadImage(reader="PydicomReader", image_only=True)
    found: Found = []
    for inner in _list_folders(folder):
        try:
            image: Any = load(str(inner))
        except Exception:  # whatever it raises is its way to refuse
            continue
        array = image.numpy()
        found.append((array[..., None] if array.ndim == 2 else array, np.asarray(image.affine)))
    return found


def read_with_highdicom(folder: Path, _: dict[str, str]) -> Found:
    """``get_volume_from_series`` for every series UID that pydicom finds."""
    import highdicom
    import pydicom

    by_series = defaultdict(list)
    for inner in _list_folders(folder):
        for path in sorted(filter(Path.is_file, inner.iterdir())):
            try:
                data = pydicom.dcmread(path)
                by_series[data.SeriesInstanceUID].append(data)
            except Exception:  # no DICOM, or damaged
                continue
    found: Found = []
    for series in by_series.values():
        try:
            if len(series) == 1 and "NumberOfFrames" in series[0]:
                image = highdicom.Image.from_dataset(series[0])
                volume = image.get_volume(apply_presentation_lut=False)
            else:
                volume = highdicom.get_volume_from_series(series, apply_presentation_lut=False)
        except Exception:  # whatever it raises is its way to refuse
            continue
        found.append((volume.array, LPS @ volume.affine))
    return found


def _list_folders(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        if names:
            yield Path(folder)


READERS: dict[str, Callable[[Path, dict[str, str]], Found]] = {
    "medseg": read_with_medseg,
    "SimpleITK": read_with_simpleitk,
    "dcm2niix": read_with_dcm2niix,
    "dicom2nifti": read_with_dicom2nifti,
    "MONAI": read_with_monai,
    "highdicom": read_with_highdicom,
}


def read_quietly(name: str, folder: Path, options: dict[str, str]) -> Found:
    """The volumes that a reader makes of a folder; none where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return READERS[name](folder, options)
        except Exception:  # whatever it raises is its way to refuse
            return []
