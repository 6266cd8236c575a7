"""Training one fold of a data set: which cases, which network, whether an old run can go on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from medseg.augmentation import DEFAULT_AUGMENTATIONS, Augmentation
from medseg.core.plan import Configuration, Plan
from medseg.networks import BuildNetwork
from medseg.preprocessing import PreparedCase
from medseg.preprocessing.previous import PreviousMask
from medseg.training.cascade import add_previous
from medseg.training.distributed.parallel import find_ranks
from medseg.training.faults import name_of
from medseg.training.fine_tuning.starts import Start, open_start
from medseg.training.job import Job, TrainedFold
from medseg.training.losses import Loss
from medseg.training.monitor import Callback
from medseg.training.patches.inspection import find_gaps
from medseg.training.patches.loader import Source
from medseg.training.patches.memory_cases import MemoryCase, hold_in_memory
from medseg.training.trainer import train_network

# Of the training plan: what may be another when a run goes on, because it changes how long or how it is computed alone.
CHANGEABLE = ("epochs", "patience_epochs", "gradient_checkpointing", "compile")


def train_fold(
    plan: Plan,
    configuration: Configuration,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    folder: str | Path,
    *,
    title: str = "",
    seconds: float | None = None,
    epochs: int | None = None,
    device: str = "auto",
    loss: str | Loss | None = None,
    network: str | BuildNetwork | None = None,
    augmentations: Sequence[Augmentation] = DEFAULT_AUGMENTATIONS,
    callbacks: Sequence[Callback] = (),
    start_from: str | Path | Start | None = None,
    previous: Mapping[str, PreviousMask] | None = None,
    restart: bool = False,
) -> TrainedFold:
    """Train the network of one fold, or go on with the run that stands in its folder; started by torchrun, together
    with the other processes.

    Args:
        plan, configuration: what to train.
        training: prepared cases with references.
        validation: prepared cases for the patch Dice of each epoch; may be empty.
        folder: the run's folder, for checkpoints and logs.
        title: what messages begin with; the configuration's name where empty.
        seconds: wall-clock for the whole training; the number of steps is fixed once a step's time is measured.
        epochs: how many, where ``seconds`` is None; the plan's where both are.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        loss, network: a name from the tables, or an object; the plan's where None.
        augmentations: what changes the patches, in order.
        callbacks: called with each epoch's record.
        start_from: the folder of a model or run to begin from, or what ``open_start`` gives; what does not fit is drawn
            anew and listed in ``start.json``.
        previous: for the second stage of a cascade, the first stage's mask of every case.
        restart: begin anew even where a checkpoint stands.
    Returns:
        the averaged weights and a record per epoch.
    Raises:
        PlanError: no training case, an unknown name, or a run made with other settings; the keys are named.
        ModelError: there is no model to begin from, or it is damaged.
        ResourceError: the device is not there, or the loss was not finite three times in a row.
    """
    began = time.monotonic()
    start = open_start(start_from, configuration) if isinstance(start_from, str | Path) else start_from
    ranks, masks = find_ranks(device), previous or {}
    sources, others = (hold_in_memory(cases, processes=ranks.local_count) for cases in (training, validation))
    job = Job(
        plan=plan,
        configuration=configuration,
        training=add_previous(sources, masks),
        validation=add_previous(others, masks),
        folder=Path(folder),
        title=title or configuration.name,
        seconds=seconds,
        epochs=epochs,
        device=device,
        identity=_identify(plan, configuration, [case.name for case in training], loss, network, augmentations, masks)
        | {"start_from": "" if start is None else start.digest},
        loss=loss,
        network=network,
        augmentations=augmentations,
        callbacks=callbacks,
        start_from=start,
        ranks=ranks,
        alarms=_note_memory(sources) + find_gaps(sources, plan.labels),
        began=began,
    )
    return train_network(job, restart=restart)


def _note_memory(sources: Sequence[Source]) -> tuple[str, ...]:
    """The alarm where the cases did not fit into memory."""
    if not sources or any(isinstance(source, MemoryCase) for source in sources):
        return ()
    return (
        "the prepared cases do not fit into a third of the free memory and are read from the disk again and again; "
        "where the processor or the GPU waits for them, free memory or put the workspace on a fast disk",
    )


def _identify(
    plan: Plan,
    configuration: Configuration,
    cases: Sequence[str],
    loss: str | Loss | None,
    network: str | BuildNetwork | None,
    augmentations: Sequence[Augmentation],
    previous: Mapping[str, PreviousMask],
) -> dict[str, str]:
    """What a run depends on, key by key, so that a mismatch can be named."""
    parts = configuration.model_dump(mode="json")
    parts.pop("memory_gb")
    parts.pop("measured_memory_gb")
    training = parts.pop("training")
    parts |= {f"training.{key}": value for key, value in training.items() if key not in CHANGEABLE}
    parts |= {
        "labels": plan.labels.model_dump(mode="json"),
        "channels": plan.channels,
        "training_cases": sorted(cases),
        "loss": name_of(loss),
        "network_object": name_of(network),
        "augmentations": [augmentation.name for augmentation in augmentations],
        "masks_of_the_first_stage": [previous[case].key for case in sorted(cases) if case in previous],
    }
    return {key: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16] for key, value in parts.items()}
