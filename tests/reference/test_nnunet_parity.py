"""Imported models give nnU-Net's own masks, voxel for voxel: models trained on the spot, and the two given ones.

Training takes nnU-Net three minutes. MEDSEG_NNUNET_MODELS may name the folder of an earlier
``nnunet_models.py --output FOLDER``, which is then taken as it is, even where nnunetv2 is not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.nnunet_folders import find_version, make_environment
from benchmarks.nnunet_recipes import RECIPES

from medseg.inference import Predictor
from medseg.io import read_segmentation
from medseg.tools.import_nnunet import import_nnunet

pytestmark = pytest.mark.slow

BUILDER = Path(__file__).parents[2] / "scripts" / "benchmarks" / "nnunet_models.py"
GIVEN = ("hippocampus_3d", "sarcoma_mr_3d")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with ``models.json`` that nnunet_models.py leaves."""
    given = os.environ.get("MEDSEG_NNUNET_MODELS")
    if given:
        return Path(given)
    if find_version(sys.executable) is None:
        pytest.skip("nnunetv2 (group bench) is not installed, and MEDSEG_NNUNET_MODELS names no trained models")
    output = tmp_path_factory.mktemp("nnunet_models")
    command = [sys.executable, str(BUILDER), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=make_environment(output))
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def list_cases(images: Path, ending: str) -> dict[str, list[Path]]:
    """The channels' files of each case."""
    cases: dict[str, list[Path]] = {}
    for path in sorted(images.glob(f"*{ending}")):
        cases.setdefault(path.name[: -len("_0000" + ending)], []).append(path)
    return cases


def count_differing(source: Path, images: Path, masks: Path, ending: str, folder: Path) -> dict[str, int | str]:
    """For each case the number of voxels where our mask is not nnU-Net's, or what is wrong with its grid."""
    imported = import_nnunet(source, folder / "model")
    assert [outcome.status for outcome in imported.outcomes] == ["done"], imported.text
    predictor = Predictor.load(folder / "model", device="cpu", precision="exact")
    found: dict[str, int | str] = {}
    for case, files in list_cases(images, ending).items():
        expected = read_segmentation(masks / f"{case}{ending}")
        ours = predictor.predict(files).segmentation
        if not ours.geometry.same_grid(expected.geometry):
            found[case] = f"{ours.geometry.describe()}, expected {expected.geometry.describe()}"
        else:
            found[case] = int(np.count_nonzero(ours.array != expected.array))
    return found


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_models_trained_here_give_nnunets_masks(name: str, trained: Path, tmp_path: Path) -> None:
    entries = {entry["name"]: entry for entry in json.loads((trained / "models.json").read_text("utf-8"))}
    if name not in entries:
        pytest.skip(f"{trained} has no model {name!r}")
    entry = entries[name]
    places = (trained / entry[key] for key in ("model", "images", "masks"))
    found = count_differing(*places, entry["ending"], tmp_path)
    assert len(found) >= 3
    assert found == dict.fromkeys(found, 0)


@pytest.mark.parametrize("name", GIVEN)
def test_given_models_give_nnunets_masks(name: str, tmp_path: Path) -> None:
    if "MEDSEG_TEST_DATA" not in os.environ:
        pytest.skip("MEDSEG_TEST_DATA is not set")
    folder = Path(os.environ["MEDSEG_TEST_DATA"]) / "models" / name
    if not folder.is_dir():
        pytest.skip(f"MEDSEG_TEST_DATA has no models/{name}")
    found = count_differing(folder / "model", folder / "images", folder / "masks", ".nii.gz", tmp_path)
    assert len(found) >= 6
    assert found == dict.fromkeys(found, 0)
