"""Probabilities on disk: found, named after labels, turned to the reference's grid."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Volume
from medseg.io import write_volume
from medseg.io.probabilities import find_probabilities, name_files, read_probabilities

LABELS = LabelScheme.make({"liver": 1, "Liver": 2, "a/b": 3})
GRID = Geometry.from_spacing((4, 5, 6), (1.0, 1.0, 2.0))


def write_case(folder: Path, case: str, array: np.ndarray, geometry: Geometry = GRID) -> None:
    (folder / case).mkdir(parents=True, exist_ok=True)
    for factor, stem in enumerate(name_files(LABELS)):
        write_volume(folder / case / f"{stem}.nii.gz", Volume((array * factor / 4)[None], geometry, (stem,)))


def test_channels_are_found_by_label(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    write_case(tmp_path / "probabilities", "a", array)
    folder = find_probabilities(tmp_path)
    assert folder == find_probabilities(folder) == tmp_path / "probabilities"
    found = read_probabilities(folder, "a", LABELS, GRID)
    assert list(found) == ["liver", "Liver", "a/b"]
    for factor, values in enumerate(found.values(), start=1):  # the background's file is the first
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, array * factor / 4, rtol=1e-6)


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    array = np.random.default_rng(1).random(GRID.shape).astype(np.float32)
    affine = GRID.affine[:, [1, 0, 2, 3]]
    write_case(tmp_path, "a", array.transpose(1, 0, 2), Geometry((5, 4, 6), affine))
    np.testing.assert_allclose(read_probabilities(tmp_path, "a", LABELS, GRID)["a/b"], array * 3 / 4, rtol=1e-6)


def test_what_is_missing_or_elsewhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        find_probabilities(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no probabilities of 'liver'") as missing:
        read_probabilities(tmp_path, "b", LABELS, GRID)
    assert missing.value.case == "b"
    write_case(tmp_path, "a", np.zeros(GRID.shape, np.float32), Geometry.from_spacing(GRID.shape, (1.0, 1.0, 3.0)))
    with pytest.raises(GeometryError, match="4x5x6") as elsewhere:
        read_probabilities(tmp_path, "a", LABELS, GRID)
    assert elsewhere.value.case == "a"
