"""From a scan to its mask with a warm model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from medseg.compute.devices import choose_device
from medseg.core.errors import ModelError, PlanError
from medseg.core.model import Rule, VolumeErrors
from medseg.core.plugins import load_plugins
from medseg.core.volume import Segmentation, Volume
from medseg.inference.engines import Engine, Precision, choose_apart, choose_engine
from medseg.inference.familiarity import find_unfamiliar
from medseg.inference.member_volumes import Counts, measure_members
from medseg.inference.members import LoadedMember, load_member
from medseg.inference.model_folder import Model, open_model
from medseg.inference.scans import Scan, as_volume
from medseg.inference.segment import PreparedScan, Window, prepare_scan, segment_scan
from medseg.inference.volume_errors import settle_errors
from medseg.networks import BuildNetwork
from medseg.postprocessing import apply_rules

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says about a scan.

    Args:
        segmentation: the mask on the scan's own grid.
        probabilities: (channel, i, j, k), float32, in the label scheme's channel order; None unless asked for.
        provenance: the model's hash, its members and the settings.
        warnings: what is unusual about the scan for this model, a sentence each.
        member_volumes_ml: by label the volume in each network's own mask, before postprocessing, whose spread tells how
            far the networks disagree; empty for a single network.
    """

    segmentation: Segmentation
    probabilities: NDArray[np.float32] | None
    provenance: dict[str, str]
    warnings: tuple[str, ...] = ()
    member_volumes_ml: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Predictor:
    """Models in memory, ready for many scans; make one with ``Predictor.load``."""

    models: tuple[Model, ...]
    members: tuple[LoadedMember, ...]
    device: torch.device
    window: Window
    engine: Engine
    precision: Precision
    rules: tuple[Rule, ...] = ()
    engine_reason: str = ""

    @classmethod
    def load(
        cls,
        model: str | Path | Sequence[str | Path],
        *,
        folds: Sequence[int | str] | None = None,
        device: str = "auto",
        engine: str = "torch",
        precision: Precision = "exact",
        overlap: float = 0.5,
        mirroring: bool = True,
        network: str | BuildNetwork | None = None,
        plugins: Sequence[str] = (),
    ) -> Self:
        """Load a model's networks, or those of several models whose probabilities are averaged.

        Args:
            model: its folder, or several.
            folds: which networks to average; all of the model's where None.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
            engine: ``torch``; ``openvino``, faster on Intel and AMD processors; ``auto`` by what is there.
            precision: ``exact`` computes in float32, ``bf16`` in bfloat16 where a product allows it.
            overlap: share of a window that neighbours share, at least 0 and below 1.
            mirroring: average over mirrored copies, along the axes that training mirrored.
            network: the function that built the network in training, where it was an object.
            plugins: modules to import first, where the model was trained with them.
        Returns:
            the predictor.
        Raises:
            ModelError: a folder is no model, damaged, has no such fold, or the models have different channels.
            PlanError: an overlap out of range, a plugin that cannot be imported, or a network object that is missing.
            ResourceError: the device is not there.
            MissingExtraError: the engine is not installed.
        """
        if not 0 <= overlap < 1:
            raise PlanError(f"overlap {overlap} is not from 0 up to below 1", remedy="Use --overlap 0.5")
        load_plugins(plugins)
        folders = [model] if isinstance(model, str | Path) else list(model)
        models = tuple(open_model(folder) for folder in folders)
        if not models:
            raise ModelError("no model was given", code="no_model")
        _check_channels(models)
        chosen = choose_device(device)
        decided, reason = choose_engine(engine, chosen, precision)
        if engine == "auto":
            logger.info("engine %s: %s", decided, reason)
        members = tuple(
            load_member(
                opened, member, chosen, folds=folds, engine=decided, precision=precision, mirroring=mirroring,
                network=network,
            )
            for opened in models
            for member in opened.record.members
        )  # fmt: skip
        rules = models[0].record.postprocessing
        if any(opened.record.postprocessing != rules for opened in models):
            logger.warning("the models have different postprocessing rules; none is applied")
            rules = ()
        sizes = [member.configuration.patch_size for member in members]
        together = choose_apart(sizes) if chosen.type == "cpu" else None
        return cls(models, members, chosen, Window(overlap, together), decided, precision, rules, reason)

    @property
    def model(self) -> Model:
        """The model, the first of several."""
        return self.models[0]

    @property
    def digest(self) -> str:
        """What identifies the model in records: the SHA-256 of its ``model.json``, joined by + for several."""
        return "+".join(model.digest for model in self.models)

    @property
    def volume_errors(self) -> VolumeErrors | None:
        """The errors of its volumes, for ``measure_case``; None where they are not known for the way it is used."""
        return settle_errors(self.models, self.members, self.window.overlap, self.rules)[0]

    def prepare(self, volume: Volume) -> PreparedScan:
        """A scan as the networks see it; threads may prepare the next scans while one is segmented."""
        prepared = prepare_scan(volume, self.members, exact=self.precision == "exact")
        familiar = self.model.record.familiar
        return replace(prepared, warnings=tuple(find_unfamiliar(volume, familiar)) if familiar else ())

    def segment(self, prepared: PreparedScan, *, with_probabilities: bool = False) -> Prediction:
        """The mask of a prepared scan, the model's postprocessing rules applied."""
        networks = sum(len(member.forwards) for member in self.members)
        counts: list[Counts] | None = [{} for _ in self.members] if networks > 1 else None
        mask, probabilities = segment_scan(
            prepared, self.members, self.window, self.device, with_probabilities=with_probabilities, counts=counts
        )
        mask = apply_rules(mask, self.model.plan.labels, self.rules)
        grids, schemes = [stages[-1].grid for stages in prepared.stages], [own.plan.labels for own in self.members]
        volumes = measure_members(counts, grids, schemes) if counts else {}
        return Prediction(mask, probabilities, self.provenance, prepared.warnings, volumes)

    def predict(
        self, scan: Scan, *, spacing_mm: Sequence[float] | None = None, with_probabilities: bool = False
    ) -> Prediction:
        """The mask of one scan.

        Args:
            scan: a file, a list of one file per channel, a ``Volume``, a nibabel or SimpleITK image, a MONAI
                MetaTensor, or an array (channel, i, j, k) or (i, j, k) together with ``spacing_mm``.
            spacing_mm: of an array; for pictures, which seldom know theirs.
            with_probabilities: also return probabilities.
        Returns:
            mask, optional probabilities, provenance and warnings about what is unusual; the model's postprocessing
            rules are applied to the mask.
        Raises:
            FormatError, GeometryError: a file cannot be read.
            DatasetError, PlanError: the scan has another number of channels than the model.
        """
        volume = as_volume(scan, self.model.plan.channels, spacing_mm=spacing_mm)
        prediction = self.segment(self.prepare(volume), with_probabilities=with_probabilities)
        for sentence in prediction.warnings:
            logger.warning("%s", sentence)
        return prediction

    @property
    def provenance(self) -> dict[str, str]:
        """The models' hashes, their members and the settings, for reports and tables."""
        axes = sorted({axis for member in self.members for axis in member.mirror_axes})
        return {
            "model": self.digest,
            "configuration": ", ".join(member.configuration.name for member in self.members),
            "folds": "; ".join(", ".join(map(str, member.folds)) for member in self.members),
            "engine": self.engine,
            "precision": self.precision,
            "overlap": str(self.window.overlap),
            "mirror_axes": ", ".join(map(str, axes)) or "none",
        }


def _check_channels(models: Sequence[Model]) -> None:
    for other in models[1:]:
        if other.plan.channels != models[0].plan.channels:
            raise ModelError(
                f"it reads the channels {', '.join(other.plan.channels)}, {models[0].folder} reads "
                f"{', '.join(models[0].plan.channels)}",
                file=other.folder, remedy="Average models of the same channels alone",
            )  # fmt: skip
