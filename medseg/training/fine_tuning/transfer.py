"""Fine-tuning: what of a model's weights fits another network, other channels and other labels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration, Plan
from medseg.core.records import Record
from medseg.networks import build_network
from medseg.training.fine_tuning.fitting import Build, Edges, find_edges, fit_weights, match_inputs, match_labels
from medseg.training.fine_tuning.starts import Start, describe_axes, name_inputs, read_start
from medseg.training.job import Job

logger = logging.getLogger(__name__)

RECORD = "start.json"
# Where less of the network than this is taken, the model gives next to nothing and is most likely the wrong one.
SMALLEST_SHARE = 0.1
USUAL_SHARE = 0.9  # a model's own network with other channels and labels keeps far more


class StartRecord(Record):
    """``start.json`` of a run: what it began with.

    Args:
        model: the folder that the weights came from.
        digest: what tells these weights from all others.
        dataset: whose cases they were trained on.
        configuration, fold: whose network it was.
        share: of the network's weights that came from it, 0 to 1.
        inputs: for each input channel, where its weights came from.
        labels: for each output channel, where its weights came from.
        differs: what of the images' preparation is not as the model saw it.
        taken: tensors that fit as they are.
        adapted: tensors put together from the model's channels or labels.
        initialised: tensors that were drawn anew, each with the reason.
        unused: the model's tensors that nothing was made of.
    """

    model: str
    digest: str
    dataset: str
    configuration: str
    fold: int | str
    share: float
    inputs: dict[str, str]
    labels: dict[str, str]
    differs: tuple[str, ...]
    taken: tuple[str, ...]
    adapted: tuple[str, ...]
    initialised: dict[str, str]
    unused: tuple[str, ...]


def start_network(job: Job, network: nn.Module) -> None:
    """Begin a job's network from the weights that the job starts from, and write ``start.json`` into its folder.

    Args:
        job: where it starts from nothing, the network stays as it was drawn and an older ``start.json`` goes.
        network: changed in place.
    Raises:
        PlanError: next to nothing fits.
        ModelError: the weights cannot be read.
    """
    if job.start_from is None:
        (job.folder / RECORD).unlink(missing_ok=True)
        return

    def build(inputs: int, outputs: int) -> nn.Module:
        return build_network(job.configuration, inputs, outputs, network=job.network)

    record = begin_from(network, build, job.start_from, job.plan, job.configuration, title=job.title)
    record.write(job.folder / RECORD)


def describe_start(folder: Path) -> dict[str, str]:
    """What a run began with, for a model's provenance: ``started_from``; nothing where it began with nothing."""
    if not (folder / RECORD).is_file():
        return {}
    record = StartRecord.read(folder / RECORD)
    return {"started_from": f"{record.digest}, trained on {record.dataset}"}


def begin_from(
    network: nn.Module, build: Build, start: Start, plan: Plan, configuration: Configuration, *, title: str
) -> StartRecord:
    """Put a model's weights into a network, as far as they fit; the others stay as they were drawn.

    Args:
        network: changed in place.
        build: builds the same network for other numbers of channels.
        start: the model's weights.
        plan, configuration: what the network is for.
        title: what messages begin with.
    Returns:
        what was taken, adapted and left as it was drawn; nothing is frozen.
    Raises:
        PlanError: next to nothing fits.
        ModelError: the weights cannot be read.
    """
    theirs, ours = read_start(start), network.state_dict()
    names = name_inputs(plan, configuration)
    input_axes, output_axes = find_edges(build, len(names), plan.labels.channel_count)
    inputs, input_words = match_inputs(start.inputs, names, len(plan.channels))
    outputs, output_words = match_labels(start.labels, plan.labels)
    edges = Edges(input_axes, output_axes, inputs, outputs, len(start.inputs), start.labels.channel_count)
    fit = fit_weights(ours, theirs, edges)
    share = _count(fit.tensors) / max(1, _count(ours))
    remedy = f"Plan with the model's network: medseg plan DATASET --workspace W --like {start.folder}"
    if share < SMALLEST_SHARE:
        raise PlanError(
            f"{title}: {100 * share:.1f} % of the network's weights fit {start.folder} "
            f"({start.configuration.name}, {start.configuration.network.name}); at least {100 * SMALLEST_SHARE:g} % "
            "are needed to begin from a model",
            code="nothing_fits",
            remedy=remedy,
        )
    network.load_state_dict({**ours, **fit.tensors})
    record = StartRecord(
        model=str(Path(start.folder).resolve()),
        digest=start.digest,
        dataset=start.dataset,
        configuration=start.configuration.name,
        fold=start.fold,
        share=share,
        inputs=input_words,
        labels=output_words,
        differs=_compare(start, plan, configuration),
        taken=tuple(fit.taken),
        adapted=tuple(fit.adapted),
        initialised=fit.missing,
        unused=tuple(fit.unused),
    )
    _say(record, title, remedy)
    return record


def _compare(start: Start, plan: Plan, configuration: Configuration) -> tuple[str, ...]:
    """How scans reach the network otherwise than they reached the model; patch and batch may be anything."""
    theirs = start.configuration
    pairs = {
        "spacing_mm": (theirs.spacing_mm, configuration.spacing_mm),
        "normalisation": (theirs.normalisation, configuration.normalisation),
        "axes": (start.axes, describe_axes(plan)),
    }
    return tuple(name for name, (before, now) in pairs.items() if before != now)


def _say(record: StartRecord, title: str, remedy: str) -> None:
    logger.info(
        "%s: begins from %s (%s fold %s): %d tensors taken, %d adapted, %d drawn anew; %.1f %% of the weights (%s)",
        title, record.model, record.configuration, record.fold, len(record.taken), len(record.adapted),
        len(record.initialised), 100 * record.share, RECORD,
    )  # fmt: skip
    if record.differs:
        logger.info("%s: other %s than the model saw", title, ", ".join(record.differs))
    if record.share < USUAL_SHARE:
        logger.warning("%s: only %.0f %% of the weights fit. %s", title, 100 * record.share, remedy)


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors.values() if tensor.is_floating_point())
