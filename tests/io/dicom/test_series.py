"""Series of every kind are read right, judged by the values at their own affine, or refused with the exact reason."""

from __future__ import annotations

import os
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import MedsegError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from tests.io.dicom_series import is_right, measure_error, pile, write
from tests.io.dicom_situations import SITUATIONS


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_series_is_read_right_or_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    situation = SITUATIONS[name]
    situation.make(tmp_path / "study")
    tree = find_series(tmp_path / "study")
    files = {Path(folder, file) for folder, _, names in os.walk(tmp_path / "study") for file in names}
    assert tree.file_count == len(files), "every file is used or listed with its reason"
    assert len(tree.unused) == situation.unused, tree.unused
    counts, errors, said = [], [], []
    for series in tree.images:
        try:
            volume, source, notes = read_series(series, **situation.options)
        except MedsegError as error:
            errors.append(error)
            continue
        array, affine = volume.array[0], volume.geometry.affine
        assert is_right(array, affine, straightened="tilt" in situation.options), measure_error(array, affine)
        assert len(source.frames or source.resampled_frames) == len(series.planes)
        counts.append(volume.geometry.shape[2])
        said += notes
    assert (tuple(sorted(counts)), tuple(sorted(error.code for error in errors))) == (situation.counts, situation.codes)
    assert all(error.case and error.file and error.remedy for error in errors)
    assert not situation.says or any(situation.says in note for note in said), said
    assert not any(word in str(error) for error in errors for word in ("Muster", "0815", "1970"))


def test_all_orientations_of_rows_columns_and_order_are_right(tmp_path: Path) -> None:
    """24 turns by right angles, each with its slices written from either end."""
    signed = [np.array(signs)[:, None] * np.eye(3)[list(order)] for order in permutations(range(3))
              for signs in product((1, -1), repeat=3)]  # fmt: skip
    turns = [axes for axes in signed if np.linalg.det(axes) > 0]
    assert len(turns) == 24
    for number, (axes, step_mm) in enumerate(product(turns, (2.5, -2.5))):
        write(tmp_path / str(number), pile(4, axes=axes, step_mm=step_mm))
        (series,) = find_series(tmp_path / str(number)).images
        volume, source, notes = read_series(series)
        assert is_right(volume.array[0], volume.geometry.affine)
        assert np.linalg.det(volume.geometry.affine) > 0
        assert notes == ()
        first = volume.geometry.to_world((0, 0, 3)) * [-1, -1, 1]
        np.testing.assert_allclose(source.frames[3].position_mm, first, atol=1e-9)


def test_there_is_a_situation_for_each_that_real_readers_fell_for() -> None:
    assert len(SITUATIONS) >= 46
