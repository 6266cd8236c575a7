"""``--set key=value``: other values than the plan's for one training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration, TrainingPlan
from medseg.core.plugins import load_plugins
from medseg.networks import NETWORKS, UNETS
from medseg.training.losses import LOSSES

# Of a configuration, besides the keys of its training; the others would no longer fit the prepared cases.
CHANGEABLE = ("batch_size", "patch_size", "batch_dice", "network")
AUTOMATIC = "auto"


def change_settings(configuration: Configuration, settings: Mapping[str, str]) -> Configuration:
    """The configuration with other values for some keys.

    Args:
        configuration: the plan's.
        settings: ``{"learning_rate": "0.001", "patch_size": "64,96,96", "network": "mednext_s"}``: keys of the
            configuration or of its training; ``network`` is a name of the table of networks.
    Returns:
        a new configuration.
    Raises:
        PlanError: an unknown key or name, or a value that does not fit the key or the network.
    """
    check_settings(settings)
    content = configuration.model_dump(mode="json")
    for key, text in settings.items():
        part = content["training"] if key in content["training"] else content
        if key == "network":
            part, key = part["network"], "name"
        part[key] = _parse(key, text, isinstance(part[key], list))
    try:
        changed = Configuration.model_validate(content)
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        raise PlanError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", code="bad_setting") from None
    _check_sizes(changed)
    return changed


def check_settings(settings: Mapping[str, str], plugins: Sequence[str] = ()) -> None:
    """Refuse settings that fit no configuration: unknown keys, networks and losses.

    Args:
        settings: as for ``change_settings``.
        plugins: modules to import first, which may bring networks and losses.
    Raises:
        PlanError: a key or a name that is not known, or a plugin that cannot be imported.
    """
    load_plugins(plugins)
    known = [*TrainingPlan.model_fields, *CHANGEABLE]
    for key in settings:
        if key not in known:
            raise PlanError(f"unknown setting {key!r}", code="unknown_setting", remedy=f"Known: {', '.join(known)}")
    if "network" in settings:
        NETWORKS.get(settings["network"])
    if settings.get("loss", AUTOMATIC) != AUTOMATIC:
        LOSSES.get(settings["loss"])


def _parse(key: str, text: str, is_list: bool) -> Any:
    """The value as JSON would have it; its type is checked with the whole configuration."""
    if key == "side_pairs":
        return [pair.split(":") for pair in text.split(",") if pair]
    if key == "side_axis" and text in ("", "none"):
        return None
    return [part for part in text.split(",") if part] if is_list else text


def _check_sizes(configuration: Configuration) -> None:
    if configuration.network.name not in UNETS:  # the others take any size, or a plugin's own tells
        return
    patch = configuration.patch_size[3 - configuration.dimensions :]
    steps = [math.prod(strides) for strides in zip(*configuration.network.strides, strict=True)]
    if configuration.batch_size < 1 or any(n < 1 or n % step for n, step in zip(patch, steps, strict=True)):
        raise PlanError(
            f"batch_size {configuration.batch_size}, patch_size {configuration.patch_size}: the network needs at least "
            f"one patch whose last axes are multiples of {', '.join(map(str, steps))}",
            code="bad_setting",
        )
