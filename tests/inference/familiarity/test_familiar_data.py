"""Real scans: a model's own pass in silence, those of another modality or unit do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from medseg.core.geometry import Geometry
from medseg.core.model import Familiar
from medseg.core.volume import Volume
from medseg.inference.familiarity import familiar_from_nnunet, find_unfamiliar
from medseg.io import read_image

ROOT = Path(os.environ.get("MEDSEG_TEST_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not (ROOT / "models").is_dir(), reason="MEDSEG_TEST_DATA is not set or has no folder models"
)
MODELS = ("hippocampus_3d", "sarcoma_mr_3d")


def load_familiar(model: str) -> Familiar:
    familiar = familiar_from_nnunet(
        json.loads((ROOT / "models" / model / "model" / "dataset_fingerprint.json").read_text("utf-8"))
    )
    assert familiar is not None
    return familiar


def read(path: Path) -> Volume:
    volume = read_image(path)
    return Volume(volume.array, volume.geometry, ("MRI",))


def images(model: str) -> list[Path]:
    return sorted((ROOT / "models" / model / "images").glob("*.nii.gz"))


@pytest.mark.parametrize("model", MODELS)
def test_a_model_s_own_scans_pass(model: str) -> None:
    familiar = load_familiar(model)
    told = {path.name: find_unfamiliar(read(path), familiar) for path in images(model)}
    assert {name: sentences for name, sentences in told.items() if sentences} == {}


@pytest.mark.parametrize(("model", "other"), [MODELS, MODELS[::-1]])
def test_scans_of_the_other_model_do_not(model: str, other: str) -> None:
    familiar = load_familiar(model)
    for path in images(other):
        assert any("spacing" in sentence for sentence in find_unfamiliar(read(path), familiar)), path


@pytest.mark.parametrize("model", MODELS)
def test_ct_does_not(model: str) -> None:
    familiar = load_familiar(model)
    for path in sorted((ROOT / "data" / "sarcoma_ct_pet" / "CT" / "images").glob("*.nii.gz")):
        assert any("looks like CT" in sentence for sentence in find_unfamiliar(read(path), familiar)), path


def test_pet_does_not() -> None:
    familiar = load_familiar("sarcoma_mr_3d")
    for path in sorted((ROOT / "data" / "sarcoma_ct_pet" / "PET" / "images").glob("*.nii.gz")):
        assert any("intensities" in sentence for sentence in find_unfamiliar(read(path), familiar)), path


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_other_units_do_not(factor: float) -> None:
    familiar = load_familiar("sarcoma_mr_3d")
    for path in images("sarcoma_mr_3d"):
        volume = read(path)
        scaled = Volume((volume.array * factor).astype(np.float32), volume.geometry, volume.channels)
        (sentence,) = find_unfamiliar(scaled, familiar)
        assert sentence.startswith("Unusual intensities in channel MRI: 99 % of what is not zero lies from ")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_other_spacings_do_not(model: str, factor: float) -> None:
    familiar = load_familiar(model)
    for path in images(model)[:6]:
        volume = read(path)
        affine = volume.geometry.affine @ np.diag([factor, factor, factor, 1.0])
        moved = Volume(volume.array, Geometry(volume.geometry.shape, affine), volume.channels)
        assert any("spacing" in sentence for sentence in find_unfamiliar(moved, familiar)), path
