"""The command's report: what was written, how close it is, and what cannot be the same."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from medseg.core.errors import MissingExtraError, ModelError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import exit_code, hash_file
from medseg.core.model import Member
from medseg.inference.self_test import add_self_test
from medseg.tools.export import export
from tests.inference.nnunet.exports import ONE, ORGANS, REGIONS, make_plan, write_example, write_model
from tests.training.examples import make_configuration

CHECKPOINT = "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"


@pytest.mark.parametrize(("labels", "dimensions"), [(ORGANS, 3), (ONE, 3), (REGIONS, 2)])
def test_what_is_read_back_is_the_same_network(labels: LabelScheme, dimensions: int, tmp_path: Path) -> None:
    smallest = (1, 4, 4) if dimensions == 2 else (4, 4, 4)
    model = write_example(tmp_path / "model", labels, dimensions=dimensions, patch_size=smallest)
    add_self_test(model.folder)
    result = export(model.folder, tmp_path / "out", to="nnunet")
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    assert [entry["patch"] for entry in result.content["parity"]] == ["random", "self-test"]
    for entry in result.content["parity"]:
        assert entry["parity"]["same_labels"] == 1.0
        assert entry["parity"]["largest_difference"] <= 1e-6 * max(1.0, entry["parity"]["logit_range"])
    assert result.content["differences"] == []
    assert "the masks of medseg predict" in result.text


def test_report(tmp_path: Path) -> None:
    configuration = make_configuration().model_copy(update={"logit_floor": -4.0})
    model = write_model(tmp_path / "model", make_plan([configuration], orientation="SPL"), mirror_axes=(2,))
    output = tmp_path / "out"
    result = export(model.folder, output, to="nnunet")
    report = json.loads((output / "export.json").read_text())
    assert report == json.loads(json.dumps(result.content))
    assert report["model"] == model.digest
    assert report["mirror_axes"] == [2]
    assert report["files"][CHECKPOINT] == hash_file(output / CHECKPOINT)
    assert set(report["files"]) == {
        path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()
    } - {"export.json"}
    assert result.outcomes[0].outputs == {CHECKPOINT: report["files"][CHECKPOINT]}
    assert len(report["differences"]) == 2
    assert all(reason in result.text for reason in report["differences"])
    assert f"-m {output / 'nnUNetTrainer__nnUNetPlans__3d_fullres'} -f 0" in result.text
    assert exit_code(result.outcomes) == 0


def test_a_damaged_self_test_is_named(tmp_path: Path) -> None:
    model = write_example(tmp_path / "model")
    add_self_test(model.folder)
    (model.folder / "self_test.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"self_test\.safetensors"):
        export(model.folder, tmp_path / "out", to="nnunet")


def test_every_stage_and_fold_is_compared(tmp_path: Path) -> None:
    full = make_configuration().model_copy(update={"name": "3d_cascade_fullres"})
    low = make_configuration().model_copy(update={"name": "3d_lowres"})
    member = Member(configuration="3d_cascade_fullres", folds=(1,), previous="3d_lowres", previous_folds=(0,))
    model = write_model(tmp_path / "model", make_plan([full, low]), [member])
    result = export(model.folder, tmp_path / "out", to="nnunet")
    assert [outcome.case for outcome in result.outcomes] == ["3d_lowres/fold_0", "3d_cascade_fullres/fold_1"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    model = write_example(tmp_path / "model")
    output = tmp_path / "out"
    output.mkdir()
    (output / "trained.pth").write_bytes(b"weeks of work")
    with pytest.raises(ModelError, match="something in it") as caught:
        export(model.folder, output, to="nnunet")
    assert caught.value.remedy
    assert [path.name for path in output.iterdir()] == ["trained.pth"]


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_other_libraries(to: str, dimensions: int, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime" if to == "onnx" else "openvino"):
        pytest.importorskip(package, reason=f"{package} (extra {to}) is not installed")
    model = write_example(tmp_path / "model", dimensions=dimensions)
    result = export(model.folder, tmp_path / "out", to=to)
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    parity = result.content["parity"][0]["parity"]
    assert parity["largest_difference"] < 1e-4 * max(1.0, parity["logit_range"])
    assert parity["same_labels"] > 0.999
    assert "plan.json" in result.content["files"]
    assert any("Only the networks" in reason for reason in result.content["differences"])


@pytest.mark.skipif(find_spec("onnxscript") is not None, reason="the extra onnx is installed")
def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    model = write_example(tmp_path / "model")
    with pytest.raises(MissingExtraError, match="is not installed") as caught:
        export(model.folder, tmp_path / "out", to="onnx")
    assert "medseg[onnx]" in str(caught.value.remedy)
    assert not (tmp_path / "out").exists()
