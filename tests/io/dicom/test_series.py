"""Series of every kind are read right, judged by the values at their own affine, or refused with the exact reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import MedsegError
from medseg.core.volume import Volume
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from tests.io.dicom_series import SLOPE, encode, measure_error
from tests.io.dicom_situations import SITUATIONS

# Half a stored step; interpolation adds what the rounding of two neighbours differs by.
TOLERANCE = 1.5 * SLOPE


def _is_right(volume: Volume, straightened: bool) -> bool:
    array = np.asarray(volume.array[0], np.float64)
    if not straightened:
        return measure_error(array, volume.geometry.affine)[1] <= TOLERANCE
    # What no plane covers, and the rim where a voxel is half covered, hold no measurement.
    inner = array[:, 4:-4]
    affine = volume.geometry.crop((0, 4, 0), (1, 5, 1)).affine
    covered = np.abs(inner - _expected(inner.shape, affine)) <= TOLERANCE
    return bool(covered[inner > array.min()].mean() > 0.9) and volume.geometry.orientation == "LPS"


def _expected(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return encode((index @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1])


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_series_is_read_right_or_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    situation = SITUATIONS[name]
    situation.make(tmp_path / "study")
    tree = find_series(tmp_path / "study")
    files = {Path(folder, file) for folder, _, names in os.walk(tmp_path / "study") for file in names}
    assert tree.file_count == len(files), "every file is used or listed with its reason"
    assert len(tree.unused) == situation.unused, tree.unused
    counts, errors = [], []
    for series in tree.images:
        try:
            volume, source, _ = read_series(series, **situation.options)
        except MedsegError as error:
            errors.append(error)
            continue
        assert _is_right(volume, "tilt" in situation.options), measure_error(volume.array[0], volume.geometry.affine)
        assert len(source.frames or source.resampled_frames) == len(series.planes)
        counts.append(volume.geometry.shape[2])
    assert (tuple(sorted(counts)), tuple(sorted(error.code for error in errors))) == (situation.counts, situation.codes)
    assert all(error.case and error.file and error.remedy for error in errors)
    assert not any(word in str(error) for error in errors for word in ("Muster", "0815", "1970"))


def test_there_is_a_situation_for_each_that_real_readers_fell_for() -> None:
    assert len(SITUATIONS) >= 46
