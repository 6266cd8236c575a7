"""A model's self-test: patches that it brings, and what its networks answered to them where it was made.

``self_test.safetensors`` in the model's folder holds for each configuration ``CONFIGURATION/image`` and
``CONFIGURATION/voxels``, and for each network ``CONFIGURATION/fold_F/logits``; ``model.json`` holds its hash. The
patches are noise, nobody's scan. A network that answers otherwise runs on a faulty device or in a faulty library.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from medseg.compute.tensor_files import write_tensors
from medseg.core.errors import ModelError
from medseg.core.model import Member
from medseg.core.plan import Configuration
from medseg.inference.engines import as_forward
from medseg.inference.model_folder import (
    SELF_TEST,
    Model,
    count_inputs,
    finish_model,
    load_networks,
    open_model,
)
from medseg.inference.stages import list_stages
from medseg.networks import UNETS, is_object

# Another processor or library sums in another order: float32 logits then differ by about a millionth of their range in
# each of the dozens of layers. What differs by a thousandth of it is another network.
LARGEST_RELATIVE_DIFFERENCE = 1e-3
# So many voxels are kept of each network's answer: of a whole patch with many classes it would be as large as a model.
KEPT_VOXELS = 4096
# A U-Net's deepest level must have more than one voxel along each axis, or its instance norm has nothing to compare.
DEEPEST_VOXELS = 2


@dataclass(frozen=True)
class Answer:
    """How a network answered to its self-test here.

    Args:
        network: configuration and fold: ``3d_fullres/fold_0``.
        largest_difference: between logits here and those stored.
        logit_range: of those stored.
    """

    network: str
    largest_difference: float
    logit_range: float

    @property
    def is_right(self) -> bool:
        """Whether the logits differ by no more than rounding explains."""
        return self.largest_difference <= LARGEST_RELATIVE_DIFFERENCE * max(1.0, self.logit_range)

    def line(self) -> str:
        """The answer for a person."""
        if self.largest_difference == 0:
            return f"{self.network}: the stored logits to the last bit"
        return (
            f"{self.network}: logits differ from the stored ones by at most {self.largest_difference:.3g} "
            f"(they span {self.logit_range:.3g})"
        )


def add_self_test(folder: str | Path) -> Model:
    """Let a finished model's networks answer to noise on this machine's CPU, and keep patches and answers with it.

    Args:
        folder: the model's, whose ``model.json`` is written anew with the hash of the self-test.
    Returns:
        the model as it stands there now. Where a network was built by a function of the user's, which is not at hand
        here, the model stays without a self-test.
    Raises:
        ModelError: the weights do not fit the plan, or a network gives numbers that are not finite.
        OSError: the disk is full or the folder cannot be written.
    """
    model = open_model(folder)
    stages = list_stages(model)
    if any(is_object(model.plan.configuration(stage.configuration).network) for stage in stages):
        return model
    tensors: dict[str, Tensor] = {}
    for stage in stages:
        configuration = model.plan.configuration(stage.configuration)
        image = draw_noise(configuration, count_inputs(model.plan, stage))
        voxels = _spread_voxels(math.prod(image.shape[1:]))
        tensors |= {f"{stage.configuration}/image": image, f"{stage.configuration}/voxels": voxels}
        for fold in stage.folds:
            logits = _answer(model, stage, fold, image, voxels, torch.device("cpu"))
            if not torch.isfinite(logits).all():
                raise ModelError("the network answers to noise with numbers that are not finite", file=model.folder)
            tensors[f"{_name_network(stage, fold)}/logits"] = logits
    write_tensors(model.folder / SELF_TEST, tensors)
    finish_model(model.folder, model.plan, model.record, self_test=True)
    return open_model(folder)


def run_self_test(model: Model, device: torch.device) -> Iterator[Answer]:
    """What a model's networks answer to its own patches on a device, in float32.

    Args:
        model: an opened model.
        device: where the networks run.
    Yields:
        an answer per network; nothing where the model brings no self-test.
    Raises:
        ModelError: the self-test or the weights are damaged, or the self-test is not of this model.
    """
    tensors = read_self_test(model)
    for stage in list_stages(model) if tensors else ():
        for fold in stage.folds:
            network = _name_network(stage, fold)
            try:
                image, voxels = tensors[f"{stage.configuration}/image"], tensors[f"{stage.configuration}/voxels"]
                expected = tensors[f"{network}/logits"]
                found = _answer(model, stage, fold, image, voxels, device)
                difference = float((found - expected).abs().nan_to_num(math.inf).max())
            except (KeyError, IndexError, RuntimeError) as error:
                raise ModelError(
                    f"its self-test is not of {network}: {error}", file=model.folder / SELF_TEST,
                    remedy="Copy the model folder again",
                ) from None  # fmt: skip
            yield Answer(network, difference, float(expected.max() - expected.min()))


def read_self_test(model: Model) -> dict[str, Tensor]:
    """The tensors of a model's self-test, by name; empty where it brings none.

    Raises:
        ModelError: the file is damaged.
    """
    path = model.folder / SELF_TEST
    try:
        return load_file(path) if SELF_TEST in model.record.files else {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"it cannot be read: {error}", file=path, remedy="Copy the model folder again") from None


def draw_noise(configuration: Configuration, channels: int) -> Tensor:
    """Normal noise that a configuration's networks can read, always the same.

    Args:
        configuration: whose patch bounds it; our own U-Nets get the smallest patch that they can halve to the end.
        channels: of the input.
    Returns:
        (channel, a, b, c), half precision.
    """
    network, size = configuration.network, configuration.patch_size
    if network.name in UNETS:
        steps = [math.prod(strides) for strides in zip(*network.strides, strict=True)]
        steps = [1] * (3 - len(steps)) + steps
        smallest = [step * DEEPEST_VOXELS for step in steps]
        size = (min(size[0], smallest[0]), min(size[1], smallest[1]), min(size[2], smallest[2]))
    return torch.randn((channels, *size), generator=torch.Generator().manual_seed(0)).half()


def _spread_voxels(count: int) -> Tensor:
    """Numbers of voxels, evenly over a patch."""
    return torch.linspace(0, count - 1, min(count, KEPT_VOXELS), dtype=torch.float64).round().long()


def _name_network(stage: Member, fold: int | str) -> str:
    return f"{stage.configuration}/fold_{fold}"


@torch.inference_mode()
def _answer(
    model: Model, stage: Member, fold: int | str, image: Tensor, voxels: Tensor, device: torch.device
) -> Tensor:
    """Logits (output, voxel) of one network, float32."""
    network = load_networks(model, stage, (fold,), device)[0]
    forward = as_forward(network, model.plan.configuration(stage.configuration).dimensions)
    logits = forward(image.float()[None].to(device))[0].float().cpu()
    return logits.flatten(1)[:, voxels].contiguous()
