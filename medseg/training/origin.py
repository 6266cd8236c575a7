"""What of the user's own code a run was trained with, so that its model is never used without it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration
from medseg.core.plugins import Plugin
from medseg.core.records import Record
from medseg.networks import name_object

logger = logging.getLogger(__name__)

FILE = "origin.json"


class Origin(Record):
    """``runs/C/fold_F/origin.json``.

    Args:
        plugins: modules that were imported with ``--plugin``.
        objects: what was given as an object in place of a name: ``network`` or ``loss`` to the object's name.
    """

    plugins: tuple[Plugin, ...] = ()
    objects: dict[str, str] = Field(default_factory=dict)


def split_objects(objects: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Names among a training's objects are settings; what is left are objects.

    Args:
        objects: ``loss``, ``network``, ``augmentations``, ``callbacks`` of ``train_fold``.
    Returns:
        ``{"network": "mednext_s"}`` for ``change_settings``, and the others.
    """
    named = {key: value for key, value in objects.items() if key in ("loss", "network") and isinstance(value, str)}
    return named, {key: value for key, value in objects.items() if key not in named and value is not None}


def mark_network(configuration: Configuration, objects: Mapping[str, Any]) -> Configuration:
    """A configuration that says where its network was an object, which no table holds.

    Args:
        configuration: as planned.
        objects: of the training.
    Returns:
        the same where ``network`` is no object.
    """
    if objects.get("network") is None:
        return configuration
    network = configuration.network.model_copy(update={"name": name_object(objects["network"])})
    return configuration.model_copy(update={"network": network})


def note_origin(folder: Path, plugins: Sequence[Plugin], objects: Mapping[str, Any], *, restart: bool) -> Origin:
    """Write what a run is trained with; a run that was begun with other plugins is not gone on with.

    Args:
        folder: the run's.
        plugins: as loaded.
        objects: of the training.
        restart: begin anew even where the run was begun with others.
    Returns:
        what was written.
    Raises:
        PlanError: the run was begun with other plugins; they are named.
    """
    own = {key: name_object(value) for key, value in objects.items() if key in ("loss", "network")}
    origin = Origin(plugins=tuple(plugins), objects=own)
    path = folder / FILE
    if not restart and path.is_file() and (folder / "checkpoints").is_dir():
        before = Origin.read(path).plugins
        if before != origin.plugins:
            raise PlanError(
                f"the run was begun with {_list(before)}; now there are {_list(origin.plugins)}",
                code="other_plugins", file=folder, remedy="Give the same with --plugin, or --restart",
            )  # fmt: skip
    origin.write(path)
    return origin


def read_plugins(folders: Sequence[Path]) -> tuple[Plugin, ...]:
    """The plugins that some runs were trained with.

    Args:
        folders: of the runs of one configuration.
    Returns:
        each once; where runs had two versions of one, that of the last run, which is said.
    Raises:
        FormatError: a run's record cannot be read.
    """
    found: dict[str, Plugin] = {}
    for folder in folders:
        for plugin in Origin.read(folder / FILE).plugins if (folder / FILE).is_file() else ():
            if found.get(plugin.name, plugin) != plugin:
                logger.warning(
                    "%s: trained with %s, other folds with %s", folder, plugin.line(), found[plugin.name].line()
                )
            found[plugin.name] = plugin
    return tuple(found.values())


def _list(plugins: Sequence[Plugin]) -> str:
    return ", ".join(plugin.line() for plugin in plugins) or "no plugin"
