"""Gradient checkpointing: features are computed again on the way back instead of being kept."""

from __future__ import annotations

from torch import nn

from medseg.core.errors import PlanError

# The networks of the table that can; a test holds the list to the networks.
CHECKPOINTING = ("plain_unet", "residual_unet", "swin_unetr")


def checkpoint_gradients(network: nn.Module) -> None:
    """Let a network that is trained keep fewer features: less memory, a third more time, the same gradients.

    Args:
        network: has a module with a ``use_checkpoint``, as our U-Nets and MONAI's Swin transformers do.
    Raises:
        PlanError: it has none, or batch norm, whose statistics would count each batch twice.
    """
    switches = [module for module in network.modules() if hasattr(module, "use_checkpoint")]
    if not switches:
        raise PlanError(
            "this network cannot compute its features twice", code="bad_setting",
            remedy=f"Use --set gradient_checkpointing=false, or one of the networks {', '.join(CHECKPOINTING)}",
        )  # fmt: skip
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise PlanError(
            "with gradient_checkpointing, batch norm would count each batch twice", code="bad_setting",
            remedy="Use --set gradient_checkpointing=false",
        )  # fmt: skip
    for module in switches:
        module.use_checkpoint = True  # type: ignore[assignment]
