"""A plan in the layout of nnU-Net's ``plans.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.core.errors import PlanError
from medseg.core.plan import Configuration, NetworkPlan

PLAIN_PLANS = "nnUNetPlans"
NETWORKS = {  # our name: nnU-Net's class, and what it calls convolutions or blocks per stage
    "plain_unet": ("dynamic_network_architectures.architectures.unet.PlainConvUNet", "n_conv_per_stage"),
    "residual_unet": ("dynamic_network_architectures.architectures.unet.ResidualEncoderUNet", "n_blocks_per_stage"),
}
NORMS = {"instance": "instancenorm.InstanceNorm", "batch": "batchnorm.BatchNorm"}
USUAL_SLOPE = 1e-2  # PyTorch's, which nnU-Net's plans do not name
SCHEMES = {
    "ct": "CTNormalization",
    "zscore": "ZScoreNormalization",
    "rescale_to_01": "RescaleTo01Normalization",
    "rgb_to_01": "RGBTo01Normalization",
    "none": "NoNormalization",
}
RESAMPLING_FUNCTION = "resample_data_or_seg_to_shape"
RESAMPLING_ORDERS = {"data": 3, "seg": 1, "probabilities": 1}


def describe_plans(
    configurations: Mapping[str, Configuration],
    *,
    head: Mapping[str, Any],
    identifiers: Mapping[str, str],
    medians: Mapping[str, Sequence[float]],
    tail: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``plans.json``.

    Args:
        configurations: by name; one that reads the masks of another stands for the second stage of a cascade and
            inherits all else from ``3d_fullres``.
        head, tail: what stands before and after the configurations: the data set, its axes and intensities.
        identifiers: what the prepared data of each configuration are called.
        medians: the median case's voxels of each, in nnU-Net's words.
    Returns:
        JSON, its keys in nnU-Net's order.
    Raises:
        PlanError: a network that nnU-Net does not have.
    Source: nnU-Net 2.8.1, ``ExperimentPlanner.plan_experiment``.
    """
    described: dict[str, Any] = {}
    for name in sorted(configurations, key=_place):
        configuration = configurations[name]
        if configuration.previous is not None:
            described[name] = {"inherits_from": "3d_fullres", "previous_stage": configuration.previous}
            continue
        described[name] = describe_configuration(configuration, identifiers[name], medians[name])
        readers = [other.name for other in configurations.values() if other.previous == name]
        if readers:
            described[name]["next_stage"] = readers[0]
    return {**head, "configurations": described, **tail}


def _place(name: str) -> int:
    """Where nnU-Net writes a configuration."""
    order = ("2d", "3d_lowres", "3d_fullres")
    return order.index(name) if name in order else len(order)


def describe_configuration(
    configuration: Configuration, identifier: str, median_shape: Sequence[float]
) -> dict[str, Any]:
    """An entry of the configurations of ``plans.json``, with the batch that nnU-Net's own rules give.

    Args:
        configuration: of our plan.
        identifier: what the prepared data are called.
        median_shape: the median case's voxels, along the axes of the patch.
    Returns:
        JSON.
    Raises:
        PlanError: a network that nnU-Net does not have.
    Source: nnU-Net 2.8.1, ``ExperimentPlanner.get_plans_for_configuration``.
    """
    first = 3 - configuration.dimensions  # nnU-Net's slices have two axes, ours a first one of 1
    functions = {f"resampling_fn_{what}": RESAMPLING_FUNCTION for what in ("data", "seg")}
    arguments = {
        f"resampling_fn_{what}_kwargs": {
            "is_seg": what == "seg",
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
        for what, order in RESAMPLING_ORDERS.items()
    }
    probabilities = arguments.pop("resampling_fn_probabilities_kwargs")
    return {
        "data_identifier": identifier,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": configuration.uncapped_batch_size or configuration.batch_size,
        "patch_size": list(configuration.patch_size[first:]),
        "median_image_size_in_voxels": list(median_shape),
        "spacing": list(configuration.spacing_mm[first:]),
        "normalization_schemes": [SCHEMES[channel.scheme] for channel in configuration.normalisation],
        "use_mask_for_norm": [channel.inside_mask for channel in configuration.normalisation],
        **functions,
        **arguments,
        "resampling_fn_probabilities": RESAMPLING_FUNCTION,
        "resampling_fn_probabilities_kwargs": probabilities,
        "architecture": describe_network(configuration.network),
        "batch_dice": configuration.batch_dice,
    }


def describe_network(network: NetworkPlan) -> dict[str, Any]:
    """The ``architecture`` of a configuration of ``plans.json``.

    Args:
        network: of our plan.
    Returns:
        JSON: nnU-Net's class and its arguments.
    Raises:
        PlanError: a network that nnU-Net does not have.
    Source: nnU-Net 2.8.1, ``ExperimentPlanner.get_plans_for_configuration``.
    """
    if network.name not in NETWORKS:
        raise PlanError(
            f"nnU-Net has no network {network.name!r}", code="not_expressible", remedy=f"It has: {', '.join(NETWORKS)}"
        )
    class_name, per_stage = NETWORKS[network.name]
    dimensions = len(network.kernels[0])
    slope = {} if network.slope == USUAL_SLOPE else {"negative_slope": network.slope}
    return {
        "network_class_name": class_name,
        "arch_kwargs": {
            "n_stages": len(network.features),
            "features_per_stage": list(network.features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": [list(kernel) for kernel in network.kernels],
            "strides": [list(stride) for stride in network.strides],
            per_stage: list(network.convolutions),
            "n_conv_per_stage_decoder": list(reversed(network.decoder_convolutions)),  # theirs from the coarsest up
            "conv_bias": network.bias,
            "norm_op": f"torch.nn.modules.{NORMS[network.norm]}{dimensions}d",
            "norm_op_kwargs": {"eps": network.norm_epsilon, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True, **slope},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
