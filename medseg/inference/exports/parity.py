"""How far exported networks' answers lie from those of the networks that they were made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from medseg.core.model import Member
from medseg.inference.engines import Parity, as_forward, compare_engines
from medseg.inference.model_folder import Model, count_inputs, load_networks
from medseg.inference.self_test import LARGEST_RELATIVE_DIFFERENCE, read_self_test
from medseg.inference.sliding_window import Forward
from medseg.inference.stages import list_stages

# From a stage and one of its folds to the exported network's file and the network in it, with outputs like ours.
OpenExport = Callable[[Member, int | str], tuple[Path, Forward]]


@dataclass(frozen=True)
class Comparison:
    """How one exported network compares with ours on one patch.

    Args:
        network: configuration and fold: ``3d_fullres/fold_0``.
        file: the exported network, relative to the export's folder.
        patch: ``random`` (normal noise) or ``self-test`` (the model's own).
        parity: what differs.
    """

    network: str
    file: str
    patch: str
    parity: Parity

    @property
    def is_close(self) -> bool:
        """Whether the logits differ by no more than rounding explains."""
        return self.parity.largest_difference <= LARGEST_RELATIVE_DIFFERENCE * max(1.0, self.parity.logit_range)

    def line(self) -> str:
        """The comparison for a person."""
        return (
            f"{self.file}: on the {self.patch} patch logits differ by at most {self.parity.largest_difference:.3g} "
            f"(they span {self.parity.logit_range:.3g}), {100 * self.parity.same_labels:.6g} % of the labels are equal"
        )


def compare_exports(model: Model, output: Path, open_export: OpenExport) -> Iterator[Comparison]:
    """Each exported network's answers beside ours.

    Args:
        model: an opened model.
        output: the export's folder.
        open_export: opens the export of a stage's fold.
    Yields:
        a comparison per network and patch.
    Raises:
        ModelError: an exported file or the model's self-test cannot be read.
    """
    softmax = model.plan.labels.output == "softmax"
    for stage in list_stages(model):
        configuration = model.plan.configuration(stage.configuration)
        for fold in stage.folds:
            own = load_networks(model, stage, (fold,), torch.device("cpu"))[0]
            path, other = open_export(stage, fold)
            for name, patch in draw_patches(model, stage).items():
                parity = compare_engines(as_forward(own, configuration.dimensions), other, [patch], softmax=softmax)
                network = f"{stage.configuration}/fold_{fold}"
                yield Comparison(network, path.relative_to(output).as_posix(), name, parity)


def draw_patches(model: Model, stage: Member) -> dict[str, Tensor]:
    """Inputs to compare networks on.

    Args:
        model: an opened model.
        stage: whose networks will see them.
    Returns:
        ``random``: (channel, a, b, c), float32, always the same; and ``self-test`` where the model brings such an image
        of the networks' patch size.
    Raises:
        ModelError: the model's self-test is damaged.
    """
    patch_size = model.plan.configuration(stage.configuration).patch_size
    shape = (count_inputs(model.plan, stage), *patch_size)
    patches = {"random": torch.randn(shape, generator=torch.Generator().manual_seed(0))}
    image = read_self_test(model).get(f"{stage.configuration}/image")
    if image is not None and tuple(image.shape) == shape:  # an exported network may take no other size
        patches["self-test"] = image.float()
    return patches
