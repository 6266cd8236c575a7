"""Series of every kind are read right, judged by the values at their own affine, or refused with the exact reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medseg.core.errors import MedsegError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from tests.io.dicom_series import is_right, measure_error
from tests.io.dicom_situations import SITUATIONS


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
        array, affine = volume.array[0], volume.geometry.affine
        assert is_right(array, affine, straightened="tilt" in situation.options), measure_error(array, affine)
        assert len(source.frames or source.resampled_frames) == len(series.planes)
        counts.append(volume.geometry.shape[2])
    assert (tuple(sorted(counts)), tuple(sorted(error.code for error in errors))) == (situation.counts, situation.codes)
    assert all(error.case and error.file and error.remedy for error in errors)
    assert not any(word in str(error) for error in errors for word in ("Muster", "0815", "1970"))


def test_there_is_a_situation_for_each_that_real_readers_fell_for() -> None:
    assert len(SITUATIONS) >= 46
