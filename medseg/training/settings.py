"""``--set key=value``: other values than the plan's for one training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pydantic

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration

# Of a configuration, besides the keys of its training; the others would no longer fit the prepared cases.
CHANGEABLE = ("batch_size", "patch_size", "batch_dice")


def change_settings(configuration: Configuration, settings: Mapping[str, str]) -> Configuration:
    """The configuration with other values for some keys.

    Args:
        configuration: the plan's.
        settings: ``{"learning_rate": "0.001", "batch_size": "4", "patch_size": "64,96,96"}``: keys of the
            configuration or of its training.
    Returns:
        a new configuration.
    Raises:
        PlanError: an unknown key, or a value that does not fit the key or the network.
    """
    content = configuration.model_dump(mode="json")
    for key, text in settings.items():
        part = content["training"] if key in content["training"] else content
        if key not in content["training"] and key not in CHANGEABLE:
            known = ", ".join([*content["training"], *CHANGEABLE])
            raise PlanError(f"unknown setting {key!r}", code="unknown_setting", remedy=f"Known: {known}")
        is_list = isinstance(part[key], list | tuple)
        part[key] = text.split(",") if is_list and text else [] if is_list else text
    try:
        changed = Configuration.model_validate(content)
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        raise PlanError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", code="bad_setting") from None
    _check_sizes(changed)
    return changed


def _check_sizes(configuration: Configuration) -> None:
    patch = configuration.patch_size[3 - configuration.dimensions :]
    steps = [math.prod(strides) for strides in zip(*configuration.network.strides, strict=True)]
    if configuration.batch_size < 1 or any(n < 1 or n % step for n, step in zip(patch, steps, strict=True)):
        raise PlanError(
            f"batch_size {configuration.batch_size}, patch_size {configuration.patch_size}: the network needs at least "
            f"one patch whose last axes are multiples of {', '.join(map(str, steps))}",
            code="bad_setting",
        )
