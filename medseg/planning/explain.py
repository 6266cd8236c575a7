"""The plan in words."""

from __future__ import annotations

from medseg.core.plan import Configuration, Plan
from medseg.planning.spacing import format_mm
from medseg.planning.topology import format_shape


def explain_plan(plan: Plan) -> str:
    """The plan as lines of text: each choice followed by its reason.

    Args:
        plan: the plan.
    Returns:
        the text, a line a choice, without a newline at the end.
    """
    lines = [f"Plan for {plan.dataset}: preset {plan.preset}, made for {plan.target}."]
    lines += [f"  {field}: {reason}" for field, reason in plan.reasons.items() if "." not in field]
    for name, configuration in plan.configurations.items():
        lines.append(f"{name}: {_summarise(configuration)}")
        prefix = f"{name}."
        lines += [
            f"  {field.removeprefix(prefix)}: {reason}"
            for field, reason in plan.reasons.items()
            if field.startswith(prefix)
        ]
    return "\n".join(lines)


def _summarise(configuration: Configuration) -> str:
    patch = configuration.patch_size[3 - configuration.dimensions :]
    spacing = format_mm(configuration.spacing_mm)
    memory = "" if configuration.memory_gb is None else f", about {configuration.memory_gb:g} GB"
    return (
        f"patch {format_shape(patch)}, batch {configuration.batch_size}, spacing {spacing}, "
        f"{len(configuration.network.features)} stages of {configuration.network.features[0]} to "
        f"{max(configuration.network.features)} channels{memory}"
    )
