"""The network that the accuracy benchmark writes into nnU-Net's plans is medseg's."""

import json
from pathlib import Path

import pytest

REASON = "nnunetv2 (group bench) is not installed"


@pytest.mark.filterwarnings("ignore")  # nnU-Net's own
def test_recipe_builds_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2", reason=REASON)
    from benchmarks.gpu_scene import NAME, TRIAL, make_plan

    from medseg.networks import build_network

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "benchmarks"))
    import nnunet_training
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    plan = make_plan(TRIAL, optimiser="adamw", rate=3e-3)
    network = plan.configuration(NAME).network.model_copy(
        update={
            "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
            "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
            "convolutions": (1, 2, 3),
            "decoder_convolutions": (1, 2),
        }
    )
    configuration = plan.configuration(NAME).model_copy(update={"network": network})
    plan = plan.model_copy(update={"configurations": {NAME: configuration}, "axis_order": (2, 0, 1)})
    norm = {"norm_op": "torch.nn.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    kwargs = {"conv_op": "torch.nn.Conv3d", "conv_bias": True, **norm, "nonlin": "torch.nn.LeakyReLU"}
    theirs = {"configurations": {NAME: {"architecture": {"arch_kwargs": kwargs}}}}
    written = nnunet_training.write_recipe(theirs, json.loads(plan.model_dump_json()))

    assert (written["transpose_forward"], written["transpose_backward"]) == ([0, 2, 1], [0, 2, 1])
    built = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        written["configurations"][NAME]["architecture"]["arch_kwargs"],
        ["conv_op", "norm_op", "nonlin"], 1, 3, deep_supervision=True,
    )  # fmt: skip
    ours = build_network(configuration, 1, 3)
    # Modules have other names and stand in another order, so the shapes of all weights are compared.
    shapes = [sorted(tuple(p.shape) for p in net.parameters()) for net in (ours, built)]
    assert shapes[0] == shapes[1]
