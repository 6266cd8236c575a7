"""A model on disk: plan, weights and a record with the hash of every file."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medseg.compute.tensor_files import write_tensors
from medseg.core.errors import MedsegError, ModelError, show_name
from medseg.core.manifest import hash_file
from medseg.core.model import Member, ModelRecord
from medseg.core.plan import Configuration, NetworkPlan, Plan
from medseg.core.plugins import Plugin, find_plugin
from medseg.networks import UNETS, BuildNetwork, build_network, is_object

logger = logging.getLogger(__name__)

RECORD = "model.json"
PLAN = "plan.json"
SELF_TEST = "self_test.safetensors"
# Of weights that do not fit, so many are told, with so many characters.
MOST_MISFITS, LONGEST_MISFIT = 3, 200


@dataclass(frozen=True)
class Model:
    """A model folder whose hashes were checked.

    Args:
        folder: where it stands.
        record: ``model.json``.
        plan: ``plan.json``.
        digest: SHA-256 of ``model.json``, which holds the hashes of all else: the model's identity.
    """

    folder: Path
    record: ModelRecord
    plan: Plan
    digest: str


def weights_path(folder: str | Path, configuration: str, fold: int | str) -> Path:
    """Where a fold's weights stand in a model folder.

    Args:
        folder: the model's.
        configuration: its name.
        fold: its number, or ``all``.
    Returns:
        the file's path, whether it is there or not.
    """
    return Path(folder) / "weights" / configuration / f"fold_{fold}.safetensors"


def write_weights(folder: str | Path, configuration: str, fold: int | str, weights: Mapping[str, Tensor]) -> Path:
    """Write a network's weights into a model folder, whole or not at all.

    Args:
        folder: the model's; made where missing.
        configuration: its name.
        fold: its number, or ``all``.
        weights: the network's state, name to tensor.
    Returns:
        the file.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path = weights_path(folder, configuration, fold)
    write_tensors(path, weights)
    return path


def finish_model(folder: str | Path, plan: Plan, record: ModelRecord, *, self_test: bool = False) -> None:
    """Write ``plan.json``, then ``model.json`` with the hashes of the files it needs; other files are left alone.

    Args:
        folder: the model's, with the weights of every member.
        plan: with every member's configuration.
        record: the model's; its ``files`` are filled in here.
        self_test: whether ``self_test.safetensors`` stands there and is the model's.
    Raises:
        ModelError: a member's weights are missing.
    """
    folder = Path(folder)
    plan.write(folder / PLAN)
    files = {PLAN: hash_file(folder / PLAN)}
    for configuration, fold in _list_weights(record):
        path = weights_path(folder, configuration, fold)
        if not path.is_file():
            raise ModelError("the weights are missing", file=path)
        files[_hash_name(folder, configuration, fold)] = hash_file(path)
    if self_test:
        files[SELF_TEST] = hash_file(folder / SELF_TEST)
    record.model_copy(update={"files": files}).write(folder / RECORD)


_ANEW = "Get the model anew from where it was made"
# What a folder of nnU-Net's results holds beside its folds.
_NNUNET_FILES = ("plans.json", "plans.pkl", "dataset_fingerprint.json")


def open_model(folder: str | Path) -> Model:
    """The model in a folder, every hash checked.

    Args:
        folder: with ``model.json``.
    Returns:
        the model; its weights stay on disk until ``load_networks``.
    Raises:
        ModelError: there is no model, a file is missing or does not match its hash, or a path leaves the folder.
    """
    folder = Path(folder)
    path = folder / RECORD
    if not path.is_file():
        remedy = "Give a model folder, such as WORKSPACE/model"
        if any((folder / name).exists() for name in _NNUNET_FILES):
            remedy = f"Where it is a model of nnU-Net, make one of ours first: medseg import-nnunet {folder} OUTPUT"
        raise ModelError("there is no model.json in it", code="no_model", file=folder, remedy=remedy)
    try:
        record = ModelRecord.read(path)
        for name, digest in record.files.items():
            _check_file(folder, name, digest)
        plan = Plan.read(folder / PLAN)
        _check_record(record, plan, folder)
    except MedsegError as error:
        raise ModelError(error.reason, file=error.file or path, remedy=error.remedy) from None
    return Model(folder, record, plan, hash_file(path))


def _check_record(record: ModelRecord, plan: Plan, folder: Path) -> None:
    """Whether record and plan fit each other, and every file that is loaded later stands among the hashed ones."""
    if not record.members or not all(member.folds for member in record.members):
        raise ModelError("it names no network")
    if any((member.previous is None) != (not member.previous_folds) for member in record.members):
        raise ModelError("a cascade names a first stage without its folds, or folds without a stage")
    if record.labels != plan.labels or record.channels != plan.channels:
        raise ModelError("its labels or channels are not the plan's")
    if not {0, 1, 2}.issuperset(record.mirror_axes):
        raise ModelError(f"mirror_axes {record.mirror_axes}, expected some of 0, 1, 2")
    weights = [(plan.configuration(configuration).name, fold) for configuration, fold in _list_weights(record)]
    needed = [PLAN, *(_hash_name(folder, configuration, fold) for configuration, fold in weights)]
    missing = [name for name in needed if name not in record.files]
    if missing:
        raise ModelError(f"there is no hash of {missing[0]}", remedy="Copy the whole model folder again")


def _list_weights(record: ModelRecord) -> list[tuple[str, int | str]]:
    """Configuration and fold of every network that the model needs, first stages of cascades included."""
    found = [(member.configuration, fold) for member in record.members for fold in member.folds]
    for member in record.members:
        if member.previous is not None:
            found += [(member.previous, fold) for fold in member.previous_folds]
    return list(dict.fromkeys(found))


def _hash_name(folder: Path, configuration: str, fold: int | str) -> str:
    return weights_path(folder, configuration, fold).relative_to(folder).as_posix()


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{name!r} leaves the model's folder")
    if not path.is_file():
        raise ModelError("the file is missing", file=path, remedy="Copy the whole model folder again")
    if hash_file(path) != digest:
        raise ModelError("its content does not match its hash", file=path, remedy="Copy the model folder again")


def load_networks(
    model: Model,
    member: Member,
    folds: tuple[int | str, ...],
    device: torch.device,
    architecture: str | BuildNetwork | None = None,
) -> list[nn.Module]:
    """The networks of some folds with their weights, in evaluation mode on the device.

    Args:
        model: an opened model.
        member: whose networks.
        folds: which of its folds.
        device: where the networks go.
        architecture: the function that built the network in training, where it was an object. Where some of the
            model's configurations were trained with an object, it is taken for those alone.
    Returns:
        a network per fold, in the order of ``folds``.
    Raises:
        ModelError: the weights do not fit the plan's network, hold numbers that are not finite, or need a plugin that
            is not loaded.
        PlanError: the network was an object, which is not given.
    """
    refuse_without_plugins(model)
    configuration = model.plan.configuration(member.configuration)
    if not is_object(configuration.network) and any(map(is_object, _list_networks(model))):
        architecture = None
    inputs = count_inputs(model.plan, member)
    return [_load_network(model, configuration, inputs, fold, device, architecture) for fold in folds]


def refuse_without_plugins(model: Model) -> None:
    """Refuse a model whose plugins are not loaded; one that changed since training is told once.

    Args:
        model: an opened model.
    Raises:
        ModelError: a plugin is not loaded; its name is what ``--plugin`` needs.
    """
    for plugin in model.record.plugins:
        now = find_plugin(plugin.name)
        if now is None:
            raise ModelError(
                f"the model was trained with the plugin {plugin.line()}, which is not loaded", code="missing_plugin",
                file=model.folder, remedy=f"Add --plugin {plugin.name}; in Python, import {plugin.name} first",
            )  # fmt: skip
        if now.sha256 != plugin.sha256:
            _tell_change(plugin, now)


@cache
def _tell_change(then: Plugin, now: Plugin) -> None:
    logger.warning("the plugin has changed since the model was trained: %s then, %s now", then.line(), now.line())


def _list_networks(model: Model) -> list[NetworkPlan]:
    return [model.plan.configuration(configuration).network for configuration, _ in _list_weights(model.record)]


def count_inputs(plan: Plan, member: Member) -> int:
    """How many channels a member's networks read: the image's, and in a cascade one per label of the stage before."""
    channels = len(plan.channels)
    return channels if member.previous is None else channels + len(plan.labels.foreground)


def _load_network(
    model: Model,
    configuration: Configuration,
    inputs: int,
    fold: int | str,
    device: torch.device,
    architecture: str | BuildNetwork | None,
) -> nn.Module:
    path = weights_path(model.folder, configuration.name, fold)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the weights cannot be read: {error}", file=path, remedy=_ANEW) from None
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ModelError(f"{bad[0]} holds numbers that are not finite", file=path, remedy=_ANEW)
    _refuse_patch(configuration, path)
    outputs = model.plan.labels.channel_count
    # Our own U-Nets are built without memory and given the file's numbers: a made-up plan then takes none, and nothing
    # is drawn only to be written over. Other networks may look at their own numbers while they are built.
    ours = architecture is None and configuration.network.name in UNETS
    with torch.device("meta") if ours else contextlib.nullcontext():
        try:
            network = build_network(configuration, inputs, outputs, network=architecture)
        except MedsegError as error:
            error.file = error.file or show_name(str(model.folder / PLAN))
            raise
    try:
        network.load_state_dict({name: _own(tensor) for name, tensor in weights.items()}, assign=ours)
    except RuntimeError as error:
        # PyTorch says it of every weight, a line each.
        said = [line.strip()[:LONGEST_MISFIT] for line in str(error).splitlines()[1 : 1 + MOST_MISFITS]]
        reason = f"the weights do not fit the plan's network: {'; '.join(said)}"
        raise ModelError(reason, file=path, remedy=_ANEW) from None
    return network.to(device).eval()


def _refuse_patch(configuration: Configuration, path: Path) -> None:
    """Our own U-Nets take only what their strides divide; raises ModelError for another window."""
    network = configuration.network
    steps = [math.prod(strides) for strides in zip(*network.strides, strict=True)]
    patch = configuration.patch_size[3 - configuration.dimensions :]
    if network.name in UNETS and any(size % step for size, step in zip(patch, steps, strict=True)):
        reason = f"the plan's patch {list(patch)} is not divisible by the strides' products {steps}"
        raise ModelError(reason, file=path, remedy=_ANEW)


def _own(tensor: Tensor) -> Tensor:
    """A tensor in memory of its own, not the file's, that computes in float32."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
