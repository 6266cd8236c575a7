"""Devices by name, refused with a reason where they are not there."""

import os

import pytest
import torch

from medseg.compute import choose_device, count_cores
from medseg.compute.devices import choose_precision
from medseg.core.errors import ResourceError


def test_count_cores() -> None:
    assert 1 <= count_cores() <= (os.cpu_count() or 1)


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cpu:x"])
def test_an_absent_device_is_refused(name: str) -> None:
    with pytest.raises(ResourceError, match="Use --device cpu or auto") as caught:
        choose_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precision_by_name(name: str, kind: torch.dtype) -> None:
    assert choose_precision(name, torch.device("cpu")) == kind


def test_precision_by_hardware() -> None:
    assert choose_precision("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert choose_precision("auto", torch.device("mps")) == torch.float32
