"""From a scan to its mask with a warm model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.compute.devices import choose_device, choose_precision
from medseg.core.dataset import Case, ImageSource
from medseg.core.errors import ModelError, PlanError
from medseg.core.geometry import Geometry
from medseg.core.plan import Configuration, Plan
from medseg.core.volume import Segmentation, Volume
from medseg.inference.model_folder import Model, load_networks, open_model
from medseg.inference.networks import as_forward, average_forwards
from medseg.inference.sliding_window import Forward, predict_logits
from medseg.io import read_volume
from medseg.networks import BuildNetwork
from medseg.postprocessing import apply_rules
from medseg.preprocessing import bound_logits, prepare_case, restore_probabilities, restore_segmentation

logger = logging.getLogger(__name__)

Precision = Literal["exact", "bf16"]
Scan = str | Path | Sequence[str | Path] | Volume


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says about a scan.

    Args:
        segmentation: the mask on the scan's own grid.
        probabilities: (channel, i, j, k), float32, in the label scheme's channel order; None unless asked for.
        provenance: the model's hash, its members and the settings.
    """

    segmentation: Segmentation
    probabilities: NDArray[np.float32] | None
    provenance: dict[str, str]


@dataclass(frozen=True)
class Window:
    """How a scan is gone through.

    Args:
        overlap: share of a window that neighbours share.
        mirror_axes: the patch's axes to flip; logits are averaged over all combinations.
    """

    overlap: float = 0.5
    mirror_axes: tuple[int, ...] = ()


def predict_case(
    volume: Volume,
    plan: Plan,
    configuration: Configuration,
    forward: Forward,
    window: Window,
    device: torch.device,
    *,
    with_probabilities: bool = False,
) -> tuple[Segmentation, NDArray[np.float32] | None]:
    """The mask of one scan.

    Args:
        volume: the scan, its channels in the plan's order.
        plan, configuration: how it is prepared.
        forward: the network, or the mean of several.
        window: overlap and mirroring.
        device: where the windows are computed.
        with_probabilities: also return probabilities, at the cost of their memory.
    Returns:
        the mask on the scan's grid, without postprocessing, and the probabilities or None.
    Raises:
        PlanError: the scan has another number of channels than the plan.
    """
    prepared = prepare_case(volume, None, plan, configuration)
    logits = predict_logits(
        forward,
        torch.from_numpy(np.ascontiguousarray(prepared.image)),
        configuration.patch_size,
        overlap=window.overlap,
        mirror_axes=window.mirror_axes,
        device=device,
    )
    logits = bound_logits(logits, plan.labels, configuration.logit_floor)
    probabilities = restore_probabilities(logits, prepared.grid, plan.labels) if with_probabilities else None
    return restore_segmentation(logits, prepared.grid, plan.labels), probabilities


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model in memory, ready for many scans; make one with ``Predictor.load``."""

    model: Model
    configuration: Configuration
    folds: tuple[int | str, ...]
    device: torch.device
    window: Window
    precision: Precision
    _forward: Forward = field(repr=False)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        folds: Sequence[int | str] | None = None,
        device: str = "auto",
        precision: Precision = "exact",
        overlap: float = 0.5,
        mirroring: bool = True,
        network: str | BuildNetwork | None = None,
    ) -> Self:
        """Load a model's networks.

        Args:
            model: its folder.
            folds: which networks to average; all of the model's where None.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
            precision: ``exact`` computes in float32, ``bf16`` in bfloat16 where a product allows it.
            overlap: share of a window that neighbours share, at least 0 and below 1.
            mirroring: average over mirrored copies, along the axes that training mirrored.
            network: the function that built the network in training, where it was not the plan's.
        Returns:
            the predictor.
        Raises:
            ModelError: the folder is no model, damaged, or has no such fold.
            PlanError: an overlap out of range.
            ResourceError: the device is not there.
        """
        if not 0 <= overlap < 1:
            raise PlanError(f"overlap {overlap} is not from 0 up to below 1", remedy="Use --overlap 0.5")
        opened = open_model(model)
        member = opened.record.members[0]
        wanted = tuple(folds) if folds is not None else member.folds
        missing = [fold for fold in wanted if fold not in member.folds]
        if missing or not wanted:
            known = ", ".join(map(str, member.folds))
            raise ModelError(f"the model has no fold {missing or ''}", file=opened.folder, remedy=f"It has: {known}")
        chosen = choose_device(device)
        configuration = opened.plan.configuration(member.configuration)
        dtype = torch.float32 if precision == "exact" else choose_precision("bf16", chosen)
        networks = load_networks(opened, member, wanted, chosen, network)
        forward = average_forwards([as_forward(network, configuration.dimensions, dtype) for network in networks])
        axes = opened.record.mirror_axes if mirroring else ()
        return cls(opened, configuration, wanted, chosen, Window(overlap, axes), precision, forward)

    def predict(
        self, scan: Scan, *, spacing_mm: Sequence[float] | None = None, with_probabilities: bool = False
    ) -> Prediction:
        """The mask of one scan.

        Args:
            scan: a file, a list of one file per channel, or a ``Volume``.
            spacing_mm: for pictures, which seldom know theirs.
            with_probabilities: also return probabilities.
        Returns:
            mask, optional probabilities and provenance; the model's postprocessing rules are applied to the mask.
        Raises:
            FormatError, GeometryError: a file cannot be read.
            DatasetError, PlanError: the files or the volume have another number of channels than the model.
        """
        volume = (
            scan
            if isinstance(scan, Volume)
            else read_volume(_as_case(scan), self.model.plan.channels, spacing_mm=spacing_mm)
        )
        segmentation, probabilities = predict_case(
            volume,
            self.model.plan,
            self.configuration,
            self._forward,
            self.window,
            self.device,
            with_probabilities=with_probabilities,
        )
        segmentation = apply_rules(segmentation, self.model.plan.labels, self.model.record.postprocessing)
        return Prediction(segmentation, probabilities, self.provenance)

    def predict_array(self, array: NDArray[Any], spacing_mm: Sequence[float]) -> Prediction:
        """The mask of an array (channel, i, j, k) whose voxels lie ``spacing_mm`` apart along i, j, k."""
        geometry = Geometry.from_spacing(array.shape[1:], spacing_mm)
        return self.predict(Volume(array, geometry, self.model.plan.channels))

    @property
    def provenance(self) -> dict[str, str]:
        """The model's hash, its members and the settings, for reports and tables."""
        return {
            "model": self.model.digest,
            "configuration": self.configuration.name,
            "folds": ", ".join(map(str, self.folds)),
            "precision": self.precision,
            "overlap": str(self.window.overlap),
            "mirror_axes": ", ".join(map(str, self.window.mirror_axes)) or "none",
        }


def _as_case(scan: str | Path | Sequence[str | Path]) -> Case:
    paths = [scan] if isinstance(scan, str | Path) else list(scan)
    return Case(Path(paths[0]).name, tuple(ImageSource(Path(path)) for path in paths))
