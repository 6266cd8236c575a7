"""Exported models in nnU-Net's own predictor: the masks of ``medseg predict``, voxel for voxel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

theirs = pytest.importorskip(
    "nnunetv2.inference.predict_from_raw_data", reason="nnunetv2 (bench group) is not installed"
)

from medseg.core.labels import LabelScheme  # noqa: E402
from medseg.core.model import Member  # noqa: E402
from medseg.core.plan import NetworkPlan, NormalisationPlan  # noqa: E402
from medseg.inference import Model, Predictor  # noqa: E402
from medseg.inference.nnunet.export import explain_differences, export_nnunet  # noqa: E402
from tests.inference.nnunet.exports import DEEP_3D, ONE, ORGANS, REGIONS, make_plan, write_model  # noqa: E402
from tests.training.conftest import one_thread  # noqa: E402
from tests.training.examples import make_configuration  # noqa: E402

__all__ = ["one_thread"]
pytestmark = pytest.mark.filterwarnings("ignore")  # nnU-Net's own

ZSCORE, MASKED = NormalisationPlan(scheme="zscore"), NormalisationPlan(scheme="zscore", inside_mask=True)
CT = NormalisationPlan(scheme="ct", mean=40, sd=120, low=-150, high=260)
RESIDUAL = DEEP_3D.model_copy(update={"name": "residual_unet", "convolutions": (1, 2, 1)})
DEEP_2D = NetworkPlan(
    features=(4, 6, 8),
    strides=((1, 1), (2, 2), (2, 2)),
    kernels=((3, 3), (3, 3), (3, 3)),
    convolutions=(1, 2, 2),
    decoder_convolutions=(2, 1),
)
OWN_NUMBERS = DEEP_2D.model_copy(update={"bias": False, "norm_epsilon": 1e-3, "slope": 0.2})


@dataclass(frozen=True)
class Setting:
    """A model and a scan for it.

    Args:
        spacing_mm: the plan's, in the network's order.
        scan_mm: the scan's, along i, j, k.
        lies: where the scan's axes run to.
        plan: of the plan's fields.
    """

    labels: LabelScheme = ORGANS
    network: NetworkPlan = DEEP_3D
    normalisation: tuple[NormalisationPlan, ...] = (ZSCORE,)
    spacing_mm: tuple[float | None, float, float] = (2.5, 1.1, 1.2)
    scan_mm: tuple[float, float, float] = (0.9, 1.0, 3.0)
    lies: str = "LPS"
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    folds: tuple[int | str, ...] = (0,)
    plan: dict[str, Any] = field(default_factory=dict)


SETTINGS = {
    "classes": Setting(folds=(0, 3), normalisation=(CT, MASKED)),
    "one class": Setting(labels=ONE, mirror_axes=(1,)),
    "regions": Setting(labels=REGIONS, network=RESIDUAL, folds=("all",)),
    "slices": Setting(
        labels=ONE, network=DEEP_2D, spacing_mm=(None, 1.1, 1.2), mirror_axes=(1, 2), plan={"axis_order": (2, 0, 1)}
    ),
    "own numbers": Setting(network=OWN_NUMBERS, spacing_mm=(None, 0.9, 1.0), mirror_axes=()),
    "batch norm": Setting(network=RESIDUAL.model_copy(update={"norm": "batch"}), mirror_axes=()),
    "turned": Setting(plan={"orientation": "SRA", "axis_order": (1, 2, 0)}, mirror_axes=(0,)),
    "turned from another order": Setting(plan={"orientation": "SAR"}, lies="ILA", scan_mm=(3.0, 1.0, 0.9)),
    "as they lie": Setting(plan={"orientation": "SPL"}, mirror_axes=()),
    "values out of order": Setting(labels=LabelScheme.make({"b": 2, "c": 3, "a": 1, "ignore": 9})),
    "one value of 255": Setting(labels=LabelScheme.make({"cell": 255}), network=DEEP_2D, spacing_mm=(None, 0.9, 1.0)),
    "classes that overlap": Setting(labels=LabelScheme.make({"a": 3, "b": 1}, output="sigmoid"), mirror_axes=()),
}


def write_setting(folder: Path, setting: Setting) -> Model:
    """Write the setting's model."""
    flat = len(setting.network.kernels[0]) == 2
    configuration = make_configuration(
        dimensions=2 if flat else 3, network=setting.network, patch_size=(1, 24, 16) if flat else (8, 24, 16)
    ).model_copy(update={"normalisation": setting.normalisation, "spacing_mm": setting.spacing_mm})
    plan = make_plan([configuration], setting.labels, **setting.plan)
    axes = [axis for axis in setting.mirror_axes if axis > 0 or not flat]
    return write_model(folder, plan, [Member(configuration=configuration.name, folds=setting.folds)], mirror_axes=axes)


def draw_channel(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A body of smooth tissue in empty air."""
    noise = np.random.default_rng(seed).normal(size=shape)
    body = sum((axis / n - 0.5) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True)) < 0.22
    return np.where(body, 60 + 900 * ndimage.gaussian_filter(noise, 1.5), 0).astype(np.int16)


def write_scan(folder: Path, setting: Setting) -> list[Path]:
    """Write a scan's channels as nnU-Net names them."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(setting.lies):
        world = next(index for index, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[world, axis] = setting.scan_mm[axis] * (1 if letter in "RAS" else -1)
    affine[:3, 3] = (-12.5, 30, 5)
    coarse = int(np.argmax(setting.scan_mm))
    shape = tuple(13 if axis == coarse else 34 + 3 * axis for axis in range(3))
    folder.mkdir()
    files = []
    for channel in range(len(setting.normalisation)):
        files.append(folder / f"case_{channel:04d}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(draw_channel(shape, channel), affine), files[-1])
    return files


def predict_theirs(
    folder: Path, files: list[Path], output: Path, folds: tuple[int | str, ...], previous: Path | None = None
) -> None:
    """Predict with nnU-Net into ``output/case...``."""
    predictor = theirs.nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    output.mkdir()
    predictor.predict_from_files_sequential(
        [[str(file) for file in files]], [str(output / "case")],
        folder_with_segs_from_prev_stage=None if previous is None else str(previous),
    )  # fmt: skip


def read_mask(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("name", SETTINGS)
def test_nnunet_gives_medsegs_masks(name: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]
    model = write_setting(tmp_path / "model", setting)
    files = write_scan(tmp_path / "scans", setting)
    export_nnunet(model, tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    predict_theirs(folder, files, tmp_path / "masks", setting.folds)
    ours = Predictor.load(model.folder, device="cpu", precision="exact").predict(files).segmentation.array
    found = read_mask(tmp_path / "masks" / "case.nii.gz")
    assert len(np.unique(ours)) > 1
    # Labels that are not listed by value win ties in another order.
    ties = 1e-3 * ours.size if name == "values out of order" else 0
    assert np.count_nonzero(ours != found) <= ties


def test_the_note_on_scans_that_lie_otherwise_is_true(tmp_path: Path) -> None:
    setting = Setting(plan={"orientation": "SPL"}, mirror_axes=(), lies="RAS", scan_mm=(1.0, 1.0, 1.0))
    model = write_setting(tmp_path / "model", setting)
    files = write_scan(tmp_path / "scans", setting)
    export_nnunet(model, tmp_path / "out")
    predict_theirs(next((tmp_path / "out").iterdir()), files, tmp_path / "masks", (0,))
    ours = Predictor.load(model.folder, device="cpu").predict(files).segmentation.array
    assert np.count_nonzero(ours != read_mask(tmp_path / "masks" / "case.nii.gz")) > 0
    assert any("run to LPS" in reason for reason in explain_differences(model))


def test_cascade(tmp_path: Path) -> None:
    setting = Setting()
    full, low = (
        make_configuration(network=DEEP_3D, patch_size=(8, 24, 16), mirror_axes=axes).model_copy(
            update={"name": name, "spacing_mm": spacing}
        )
        for name, spacing, axes in (
            ("3d_cascade_fullres", (2.5, 1.1, 1.2), (0, 1)),
            ("3d_lowres", (4.0, 2.0, 2.0), (2,)),
        )
    )
    member = Member(configuration=full.name, folds=(0, 1), previous=low.name, previous_folds=(2,))
    model = write_model(tmp_path / "model", make_plan([full, low], setting.labels), [member], mirror_axes=(0, 1))
    files = write_scan(tmp_path / "scans", setting)
    export_nnunet(model, tmp_path / "out")
    stages = {name: tmp_path / "out" / f"nnUNetTrainer__nnUNetPlans__{name}" for name in (low.name, full.name)}
    predict_theirs(stages[low.name], files, tmp_path / "low", (2,))
    predict_theirs(stages[full.name], files, tmp_path / "full", (0, 1), previous=tmp_path / "low")
    ours = Predictor.load(model.folder, device="cpu", precision="exact").predict(files).segmentation.array
    assert len(np.unique(ours)) > 1
    assert np.count_nonzero(ours != read_mask(tmp_path / "full" / "case.nii.gz")) == 0


def test_coloured_pictures(tmp_path: Path) -> None:
    configuration = make_configuration(dimensions=2, network=DEEP_2D, patch_size=(1, 24, 16)).model_copy(
        update={"normalisation": (NormalisationPlan(scheme="rgb_to_01"),) * 3, "median_shape": (1, 40, 50)}
    )
    plan = make_plan([configuration], LabelScheme.make({"cell": 255}), orientation="SAR", channels=("r", "g", "b"))
    model = write_model(tmp_path / "model", plan, mirror_axes=(1, 2))
    (tmp_path / "scans").mkdir()
    path = tmp_path / "scans" / "case_0000.png"
    colours = np.stack([np.abs(draw_channel((40, 53), seed)) % 256 for seed in range(3)], axis=-1)
    Image.fromarray(colours.astype(np.uint8)).save(path)
    export_nnunet(model, tmp_path / "out")
    predict_theirs(next((tmp_path / "out").iterdir()), [path], tmp_path / "masks", (0,))
    ours = Predictor.load(model.folder, device="cpu", precision="exact").predict(path).segmentation.array
    with Image.open(tmp_path / "masks" / "case.png") as image:
        found = np.asarray(image)
    assert set(np.unique(ours)) == {0, 255}
    assert np.count_nonzero(ours[..., 0] != found) == 0
