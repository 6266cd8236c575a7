"""A data set of which no case can be used says why, with the first case's file."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.core.errors import DatasetError
from medseg.fingerprint import inspect_path


def write_images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(
            folder / f"{name}.nii.gz"
        )


def test_images_without_any_mask(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "b", "a")
    with pytest.raises(DatasetError, match="no case can be used; the first of 2 problems: the case has no mask") as one:
        inspect_path(tmp_path)
    assert (one.value.case, one.value.file) == ("a", str(tmp_path / "images" / "a.nii.gz"))


def test_no_image_can_be_read(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        write_images(tmp_path / kind, "a")
        file = tmp_path / kind / "a.nii.gz"
        file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DatasetError, match="the first of 2 problems: the file is truncated") as caught:
        inspect_path(tmp_path)
    assert caught.value.case == "a"
