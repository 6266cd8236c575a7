"""What every registered network does."""

import json
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medseg.core.errors import PlanError
from medseg.inference import write_weights
from medseg.networks import NETWORKS, UNETS, build_network, checkpoint_gradients
from medseg.networks.checkpointing import CHECKPOINTING
from medseg.training.losses import build_loss, supervise_depths
from tests.networks.examples import SHAPES
from tests.preprocessing.examples import CLASSES
from tests.training.examples import make_configuration

SLOW = {("swin_unetr", "3d")}  # its smallest input has 32 x 32 x 64 voxels
EVERY = [
    pytest.param(name, shape, marks=[pytest.mark.slow] if (name, shape) in SLOW else [])
    for name in NETWORKS
    for shape in SHAPES
]
INPUTS, OUTPUTS = 2, 3
SUPERVISED = {name for name in NETWORKS if name not in ("swin_unetr", "attention_unet")}
ODD = {"3d": (3, 11, 7), "2d": (9, 14)}  # voxels that no stride divides

pytestmark = pytest.mark.parametrize(("name", "shape"), EVERY)


def build(name: str, shape: str, seed: int = 0) -> torch.nn.Module:
    network = SHAPES[shape][0].model_copy(update={"name": name})
    return build_network(make_configuration(network=network), INPUTS, OUTPUTS, seed=seed)


def draw_input(shape: str, size: tuple[int, ...] | None = None) -> torch.Tensor:
    return torch.randn(1, INPUTS, *(size or SHAPES[shape][1]), generator=torch.Generator().manual_seed(1))


def test_logits_have_the_input_s_size_and_are_finite(name: str, shape: str) -> None:
    network, x = build(name, shape), draw_input(shape)
    for logits in (network.train()(x), network.eval()(x)):
        assert tuple(logits[0].shape) == (1, OUTPUTS, *SHAPES[shape][1])
        assert all(torch.isfinite(stage).all() for stage in logits)
    assert len(logits) == 1


def test_stages_are_supervised_from_the_finest_to_the_coarsest(name: str, shape: str) -> None:
    size = (32, 64, 64)[-len(SHAPES[shape][1]) :]
    # Sizes alone, without arithmetic.
    logits = build(name, shape).train().to("meta")(torch.empty(1, INPUTS, *size, device="meta"))
    voxels = [prod(stage.shape[2:]) for stage in logits]
    assert voxels == sorted(set(voxels), reverse=True)
    assert (len(logits) > 1) == (name in SUPERVISED)
    for stage in logits:
        assert all(length % own == 0 for length, own in zip(size, stage.shape[2:], strict=True))


def test_the_loss_takes_the_stages_and_reaches_every_weight_but_the_coarsest_heads(name: str, shape: str) -> None:
    network = build(name, shape).train()
    logits = network(draw_input(shape))
    labels = torch.randint(0, 3, (1, *SHAPES[shape][1]), generator=torch.Generator().manual_seed(2))
    targets = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    loss = supervise_depths(build_loss("auto", CLASSES, batch_dice=False), logits, targets, None)
    loss.backward()
    assert torch.isfinite(loss)
    grads = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_gradient_reaches_every_weight(name: str, shape: str) -> None:
    network = build(name, shape).train()
    with torch.no_grad():
        for weight in network.parameters():  # a branch that begins at nothing must not hide what lies before it
            weight += 0.01 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(3))
    sum((stage**3).sum() for stage in network(draw_input(shape, (16, 32, 32)[-len(SHAPES[shape][1]) :]))).backward()
    grads = {key: weight.grad for key, weight in network.named_parameters()}
    # A norm takes away the bias before it: such a gradient is 0.
    silent = [key for key, grad in grads.items() if grad is None or not (grad.any() or key.endswith("bias"))]
    assert silent == []


def test_the_seed_decides_the_weights(name: str, shape: str) -> None:
    first, again, other = (build(name, shape, seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_evaluation_repeats_itself_and_leaves_the_weights(name: str, shape: str) -> None:
    network, x = build(name, shape).eval(), draw_input(shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    kept = x.clone()
    assert torch.equal(network(x)[0], network(x)[0])
    assert torch.equal(x, kept)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_any_size_goes_in_and_comes_out(name: str, shape: str) -> None:
    if name in UNETS:
        pytest.skip("its patches are planned; settings refuse others")
    network, size = build(name, shape), ODD[shape]
    for logits in (network.train()(draw_input(shape, size)), network.eval()(draw_input(shape, size))):
        assert tuple(logits[0].shape) == (1, OUTPUTS, *size)


def test_weights_go_through_their_file(name: str, shape: str, tmp_path: Path) -> None:
    network, x = build(name, shape, seed=4).eval(), draw_input(shape)
    weights = load_file(write_weights(tmp_path, "c", 0, network.state_dict()))
    other = build(name, shape, seed=5).eval()
    other.load_state_dict(weights)
    assert torch.equal(network(x)[0], other(x)[0])


def test_features_computed_twice_give_the_same_gradients(name: str, shape: str) -> None:
    gradients = []
    for twice in (False, True):
        network = build(name, shape).train()
        if twice:
            if name not in CHECKPOINTING:
                with pytest.raises(PlanError, match=", ".join(CHECKPOINTING)):
                    checkpoint_gradients(network)
                return
            checkpoint_gradients(network)
        with torch.autograd.graph.saved_tensors_hooks(count := Counter(), lambda tensor: tensor):
            loss = sum((stage**2).sum() for stage in network(draw_input(shape)))
        loss.backward()
        gradients.append(({key: weight.grad for key, weight in network.named_parameters()}, count.elements))
    (plain, kept), (again, fewer) = gradients
    assert all(torch.equal(plain[key], again[key]) for key in plain)
    assert fewer < kept


class Counter:
    """Counts the elements that are kept for the way back."""

    def __init__(self) -> None:
        self.elements = 0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        self.elements += tensor.numel()
        return tensor


def test_name_stands_in_a_plan_file(name: str, shape: str) -> None:
    network = SHAPES[shape][0].model_copy(update={"name": name})
    assert type(network).model_validate(json.loads(network.to_json())) == network
