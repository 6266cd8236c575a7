"""The spacing that somebody asks for, with either option."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medseg.cli import app
from medseg.core.dataset import Case, Dataset, ImageSource, write_dataset
from medseg.core.workspace import Workspace
from medseg.planning import read_target
from tests.end_to_end.scans import write_data_set


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("words", "spacing"),
    [
        (["--spacing-mm", "isotropic"], None),
        (["--target-spacing-mm", "isotropic"], None),
        (["--spacing-mm", "3"], [3.0, 3.0, 3.0]),
        (["--spacing-mm", "2,2.5,3"], [3.0, 2.5, 2.0]),
        (["--spacing-mm", "2", "--target-spacing-mm", "3"], [3.0, 3.0, 3.0]),
    ],
)
def test_scans_that_know_their_spacing_are_resampled_to_what_is_asked_for(
    data: Path, tmp_path: Path, words: list[str], spacing: list[float] | None
) -> None:
    result = CliRunner().invoke(app, ["plan", str(data), "--workspace", str(tmp_path), "--json", *words])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["configurations"]["3d_fullres"]["spacing_mm"]
    assert found == pytest.approx(spacing or [found[0]] * 3, rel=0.01)


@pytest.mark.parametrize(("ending", "target"), [("png", None), ("nii.gz", [0.5])])
def test_for_pictures_it_is_their_own(tmp_path: Path, ending: str, target: list[float] | None) -> None:
    space = Workspace(tmp_path)
    write_dataset(space.cases, Dataset(tmp_path, "a", "b", (Case("c", (ImageSource(tmp_path / f"c.{ending}"),)),)))
    assert read_target(space, [0.5]) == target
    assert read_target(space, None) is None
