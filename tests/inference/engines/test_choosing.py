"""Which engine is taken."""

import sys

import pytest
import torch

from medseg.core.errors import MissingExtraError, PlanError
from medseg.inference.engines import choose_engine, choosing, make_forward
from tests.inference.engines.examples import CHANNELS, make_network

CPU = torch.device("cpu")


def test_exact_masks_need_torch() -> None:
    engine, reason = choose_engine("auto", CPU, "exact")
    assert engine == "torch"
    assert "--precision bf16" in reason
    assert choose_engine("torch", CPU, "bf16") == ("torch", "as asked for")


def test_a_gpu_needs_torch() -> None:
    cuda = torch.device("cuda")
    assert choose_engine("torch", cuda, "exact")[0] == "torch"
    assert choose_engine("auto", cuda, "exact") == (
        "torch", "the networks run on cuda, and OpenVINO on the CPU alone"
    )  # fmt: skip
    with pytest.raises(PlanError, match="runs on the CPU, not on cuda"):
        choose_engine("openvino", cuda, "exact")


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"unknown engine 'tensorrt'.*torch, openvino, auto"):
        choose_engine("tensorrt", CPU, "exact")


def test_without_openvino_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as if it were not installed
    monkeypatch.setattr(choosing, "choose_precision", lambda name, device: torch.bfloat16)
    engine, reason = choose_engine("auto", CPU, "bf16")
    assert engine == "torch"
    assert "openvino, for the faster OpenVINO, is not installed" in reason
    monkeypatch.setattr(choosing, "choose_precision", lambda name, device: torch.float32)
    assert choose_engine("auto", CPU, "bf16") == ("torch", "this processor does not multiply in bfloat16")
    with pytest.raises(MissingExtraError, match=r"openvino is not installed.*medseg\[openvino\].*--engine torch"):
        choose_engine("openvino", CPU, "exact")
    network, configuration = make_network()
    with pytest.raises(MissingExtraError, match=r"medseg\[openvino\]"):
        make_forward(network, configuration, CHANNELS, CPU, engine="openvino")
