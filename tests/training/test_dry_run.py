"""The memory of a training step: predicted everywhere, measured on a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.core.labels import LabelScheme
from medseg.core.plan import NetworkPlan
from medseg.planning.memory import FIXED_GB, estimate_memory_gb
from medseg.training.dry_run import measure_step_memory, note_memory, predict_memory_gb, take_trial_steps
from medseg.training.job import Job
from medseg.training.settings import change_settings
from tests.training.examples import make_configuration, make_plan

CPU = torch.device("cpu")
LARGE = LabelScheme.make({"first": 1, "last": 300})  # a value beyond uint8


def make_job(labels: LabelScheme | None = None, **options: Any) -> Job:
    configuration = make_configuration(**options)
    plan = make_plan(configuration, *([labels] if labels else []))
    return Job(plan, configuration, (), (), Path("nowhere"), "test", device="cpu")


def test_on_a_cpu_a_plan_s_own_configuration_stays_as_it_is() -> None:
    configuration = make_configuration()
    assert note_memory(make_plan(configuration), configuration, title="test", device="cpu") is configuration


def test_other_settings_have_another_memory() -> None:
    planned = make_configuration()
    changed = change_settings(planned, {"batch_size": "50", "patch_size": "32,32,32"})
    noted = note_memory(make_plan(planned), changed, title="test", device="cpu")
    expected = estimate_memory_gb(changed.network, (32, 32, 32), 50, 1, 3, changed.training, bytes_per_element=4)
    assert noted.memory_gb == expected > FIXED_GB
    assert noted.measured_memory_gb is None
    assert noted.model_copy(update={"memory_gb": planned.memory_gb}) == changed


def test_checkpointing_is_predicted_to_take_less() -> None:
    options = {"patch_size": (64, 64, 64), "batch_size": 20}
    plain, twice = (make_job(gradient_checkpointing=twice, **options) for twice in (False, True))
    assert predict_memory_gb(twice.plan, twice.configuration, CPU) < predict_memory_gb(  # type: ignore[operator]
        plain.plan, plain.configuration, CPU
    )


def test_a_network_without_closed_form_has_no_prediction() -> None:
    planned = make_configuration()
    changed = change_settings(planned, {"network": "mednext_s"})
    assert note_memory(make_plan(planned), changed, title="test", device="cpu").memory_gb is None


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("labels", [None, LARGE])
@pytest.mark.parametrize("accumulation", [1, 5])
def test_trial_steps_leave_no_trace(dimensions: int, labels: LabelScheme | None, accumulation: int) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    job = make_job(labels, dimensions=dimensions, channels=2, accumulation=accumulation, compile=True)
    take_trial_steps(job)
    assert torch.equal(torch.rand(2), expected)
    assert not Path("nowhere").exists()


def test_a_cpu_is_not_measured() -> None:
    assert measure_step_memory(make_job()) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_prediction_and_measurement_agree_on_a_gpu(checkpointing: bool) -> None:
    network = NetworkPlan(
        features=(32, 64, 128, 256),
        strides=((1, 1, 1), *((2, 2, 2),) * 3),
        kernels=((3, 3, 3),) * 4,
        convolutions=(2, 2, 2, 2),
        decoder_convolutions=(2, 2, 2),
    )
    configuration = make_configuration(
        network=network,
        patch_size=(64, 96, 96),
        batch_size=4,
        precision="auto",
        optimiser="sgd",
        gradient_checkpointing=checkpointing,
    )
    noted = note_memory(make_plan(configuration), configuration, title="test", device="cuda")
    assert noted.memory_gb == pytest.approx(noted.measured_memory_gb, rel=0.15)
