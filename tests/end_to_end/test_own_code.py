"""The user's own networks and losses: as plugins on the command line, as objects in Python, or another of the table."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg import DEFAULT_AUGMENTATIONS, Augmentation, Predictor, pipeline, read_segmentation
from medseg.core.errors import ModelError, PlanError
from medseg.core.model import ModelRecord
from medseg.core.plan import NetworkPlan, Plan
from medseg.core.workspace import Workspace
from medseg.training.origin import Origin
from tests.end_to_end.command_line import medseg
from tests.end_to_end.scans import TEST, TRAINING, write_data_set
from tests.end_to_end.test_steps import copy_of

NAME = "3d_fullres"
SMALL = {"patch_size": "8,16,16", "batch_size": "2", "iterations_per_epoch": "4"}
PLUGIN = '''
"""A network of one layer and a loss."""
import torch
from medseg import LOSSES, NETWORKS

__version__ = "0.3"

@NETWORKS.add("one_layer")
def build_one_layer(plan, inputs, outputs):
    return torch.nn.Conv3d(inputs, outputs, 3, padding=1)

@LOSSES.add("squares")
def make_squares(setting):
    return lambda logits, targets, mask: ((logits.sigmoid() - targets) ** 2).mean()
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = Workspace(tmp_path_factory.mktemp("workspace"))
    pipeline.plan(data, space.root, preset="cpu")
    result = pipeline.preprocess(space.root, configurations=[NAME])
    assert [outcome.status for outcome in result.outcomes] == ["done"] * len(TRAINING)
    return space


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin in the working folder, not yet imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "plug_layer.py"
    path.write_text(PLUGIN)
    yield path
    sys.modules.pop("plug_layer", None)


def settings(**more: str) -> list[str]:
    return [word for key, value in {**SMALL, **more}.items() for word in ("--set", f"{key}={value}")]


def test_a_plugin_goes_from_training_to_prediction(
    prepared: Workspace, data: Path, plugin: Path, tmp_path: Path
) -> None:
    space = copy_of(prepared, tmp_path / "w")
    train = ["train", "--workspace", space.root, "--configuration", NAME, "--epochs", "1", "--device", "cpu"]
    own = settings(network="one_layer", loss="squares")
    unknown = medseg(*train, *own)
    assert unknown.code == 2
    assert "unknown network 'one_layer'" in unknown.lines[-1]
    ended = medseg(*train, *own, "--plugin", "plug_layer")
    assert ended.code == 0, ended.lines
    assert medseg("choose", "--workspace", space.root).code == 0
    (noted,) = ModelRecord.read(space.model / "model.json").plugins
    assert (noted.name, noted.version) == ("plug_layer", "0.3")
    assert Plan.read(space.model / "plan.json").configuration(NAME).network.name == "one_layer"

    predict = ["predict", data / "imagesTs", tmp_path / "out", "--model", space.model, "--device", "cpu"]
    del sys.modules["plug_layer"]
    refused = medseg(*predict)
    assert refused.code == 2
    assert "trained with the plugin plug_layer 0.3" in refused.lines[-1]
    assert "--plugin plug_layer" in refused.lines[-1]
    assert medseg(*predict, "--plugin", "plug_layer").code == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == sorted(f"{n}.nii.gz" for n in TEST)

    plugin.write_text(PLUGIN + "# changed\n")
    del sys.modules["plug_layer"]
    changed = medseg(*predict[:2], tmp_path / "again", *predict[3:], "--plugin", "plug_layer")
    assert changed.code == 0
    assert any("has changed since the model was trained" in line for line in changed.lines)
    other = medseg(*train, *own, "--plugin", "plug_layer")
    assert other.code == 2
    assert "the run was begun with plug_layer 0.3" in other.lines[-1]


@pytest.mark.parametrize(
    ("content", "word", "part"),
    [
        (None, "plug_nowhere", "there is no module 'plug_nowhere'"),
        ("raise ValueError('no luck')", "plug_layer", "ValueError: no luck"),
        ("from medseg import NETWORKS\nNETWORKS.add('plain_unet')(print)", "plug_layer", "is registered already"),
        (None, "plug_layer.py", "there is no module"),
        (None, "./plug_layer", "not the name of a module"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line(
    plugin: Path, tmp_path: Path, content: str | None, word: str, part: str
) -> None:
    plugin.write_text(content if content is not None else PLUGIN)
    for words in (
        ["train", "--workspace", tmp_path, "--configuration", NAME],
        ["run", tmp_path / "data", "--workspace", tmp_path],
        ["choose", "--workspace", tmp_path],
        ["predict", tmp_path, tmp_path / "out", "--model", tmp_path],
    ):
        ended = medseg(*words, "--plugin", word)
        assert ended.code == 2
        assert len(ended.lines) == 1
        assert part in ended.lines[0]
        sys.modules.pop("plug_layer", None)


class TinyNet(nn.Module):
    """Two layers; gives a tensor, not a list."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(inputs, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def build_tiny(plan: NetworkPlan, inputs: int, outputs: int) -> nn.Module:
    return TinyNet(inputs, outputs)


def brier(logits: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
    return ((logits.softmax(1) - targets) ** 2).mean()


def draw_shift(rng: np.random.Generator, scene: object) -> float:
    return float(rng.normal())


def apply_shift(images: Tensor, labels: Tensor, parameters: list[float]) -> tuple[Tensor, Tensor]:
    return images + torch.tensor(parameters, device=images.device).view(-1, 1, 1, 1, 1), labels


SHIFT = Augmentation("shift", draw_shift, apply_shift)


def test_objects_go_from_training_to_prediction(prepared: Workspace, data: Path, tmp_path: Path) -> None:
    space = copy_of(prepared, tmp_path / "w")
    result = pipeline.train(
        space.root,
        configuration=NAME,
        fold=0,
        epochs=1,
        device="cpu",
        settings=SMALL,
        network=build_tiny,
        loss=brier,
        augmentations=[*DEFAULT_AUGMENTATIONS, SHIFT],
    )
    assert {outcome.status for outcome in result.outcomes} == {"done"}
    here = build_tiny.__module__
    objects = Origin.read(space.run(NAME, 0) / "origin.json").objects
    assert objects == {"network": f"object {here}.build_tiny", "loss": f"object {here}.brier"}
    pipeline.choose(space.root)
    with pytest.raises(PlanError, match=r"build_tiny.*network=") as caught:
        Predictor.load(space.model, device="cpu")
    assert caught.value.code == "missing_network"
    with pytest.raises(ModelError, match="do not fit"):
        Predictor.load(space.model, device="cpu", network="plain_unet")
    scan = data / "imagesTs" / "scan_9_0000.nii.gz"
    mask = Predictor.load(space.model, device="cpu", network=build_tiny).predict(scan).segmentation
    pipeline.predict(scan, tmp_path / "out", model=space.model, device="cpu", network=build_tiny)
    (written,) = (tmp_path / "out").glob("*.nii.gz")
    assert np.array_equal(read_segmentation(written).array, mask.array)


def test_another_network_of_the_table_goes_from_training_to_export(
    prepared: Workspace, data: Path, tmp_path: Path
) -> None:
    space = copy_of(prepared, tmp_path / "w")
    own = settings(network="segresnet", patch_size="9,17,14")
    train = ["train", "--workspace", space.root, "--configuration", NAME, "--epochs", "1", "--device", "cpu", *own]
    assert medseg(*train).code == 0
    assert medseg("choose", "--workspace", space.root).code == 0
    configuration = Plan.read(space.model / "plan.json").configuration(NAME)
    assert (configuration.network.name, configuration.memory_gb) == ("segresnet", None)
    predict = ["predict", data / "imagesTs", tmp_path / "out", "--model", space.model, "--device", "cpu"]
    assert medseg(*predict).code == 0
    refused = medseg("export", space.model, tmp_path / "nnunet", "--to", "nnunet")
    assert refused.code == 2
    assert "segresnet" in refused.lines[-1]
