import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medseg.core.errors import ModelError
from medseg.core.manifest import exit_code
from medseg.inference import finish_model, open_model
from medseg.inference.self_test import add_self_test, run_self_test
from medseg.tools.doctor import doctor
from tests.inference.nnunet.exports import ORGANS, REGIONS, write_example

CPU = torch.device("cpu")


def test_a_sound_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctor(device="cpu")
    assert [outcome.status for outcome in result.outcomes] == ["done"] * 6
    assert "all 6 checks passed" in result.text
    assert list(tmp_path.iterdir()) == []


def test_each_failure_is_named_and_the_rest_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctor(tmp_path / "no_model", device="cuda:97")
    bad = {outcome.case: outcome for outcome in result.outcomes if outcome.status == "failed"}
    assert set(bad) == {"device", "model"}
    assert "cuda:97" in bad["device"].reason
    assert "--device cpu" in bad["device"].remedy
    assert "no_model" in result.text
    assert "2 of 7 checks failed" in result.text
    assert exit_code(result.outcomes) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o500)
    assert "disk: FAILED" in doctor(device="cpu").text


@pytest.mark.parametrize(("labels", "dimensions"), [(ORGANS, 3), (REGIONS, 2)])
def test_a_model_passes_its_self_test(labels, dimensions: int, tmp_path: Path) -> None:
    model = write_example(tmp_path / "model", labels, dimensions=dimensions)
    assert list(run_self_test(model, CPU)) == []
    assert "brings no self-test" in doctor(model.folder, device="cpu").text
    tested = add_self_test(model.folder)
    answers = list(run_self_test(tested, CPU))
    assert answers
    assert all(answer.largest_difference == 0 and answer.logit_range > 0 for answer in answers)
    assert "answers on cpu as where the model was made" in doctor(model.folder, device="cpu").text


def test_a_network_that_answers_otherwise_is_found(tmp_path: Path) -> None:
    model = add_self_test(write_example(tmp_path / "model").folder)
    weights = next((model.folder / "weights").rglob("*.safetensors"))
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.dim() > 3)
    tensors[name] = tensors[name].flip(-1).contiguous()
    save_file(tensors, weights)
    with pytest.raises(ModelError, match="does not match its hash"):
        open_model(model.folder)
    finish_model(model.folder, model.plan, model.record, self_test=True)  # as if the hashes were right
    (answer,) = run_self_test(open_model(model.folder), CPU)
    assert not answer.is_right
    outcome = doctor(model.folder, device="cpu").outcomes[-1]
    assert (outcome.case, outcome.status) == ("model", "failed")
    assert "logits differ" in outcome.reason


def test_a_damaged_self_test_is_named(tmp_path: Path) -> None:
    model = add_self_test(write_example(tmp_path / "model").folder)
    path = model.folder / "self_test.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"self_test\.safetensors"):
        open_model(model.folder)
    finish_model(model.folder, model.plan, model.record, self_test=True)
    with pytest.raises(ModelError, match=r"self_test\.safetensors"):
        list(run_self_test(open_model(model.folder), CPU))
