"""Folders as nnU-Net leaves them, with networks of a few weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core.plan import NetworkPlan
from medseg.inference.nnunet import pair_names
from medseg.networks import NETWORKS

CLASS_NAMES = {"plain_unet": "PlainConvUNet", "residual_unet": "ResidualEncoderUNet"}
DATASET: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
TRAINER = "nnUNetTrainer"


def make_network(dimensions: int = 3, **changes: Any) -> NetworkPlan:
    """A U-Net of three stages with few features."""
    plan = NetworkPlan(
        features=(2, 3, 4),
        strides=((1,) * dimensions, (2,) * dimensions, (1, *(2,) * (dimensions - 1))),
        kernels=((1, *(3,) * (dimensions - 1)), (3,) * dimensions, (3,) * dimensions),
        convolutions=(1, 2, 1),
        decoder_convolutions=(1, 2),
    )
    return NetworkPlan.model_validate(plan.model_dump() | changes)


def make_configuration(network: NetworkPlan, **changes: Any) -> dict[str, Any]:
    """An entry of ``configurations`` in the present format."""
    dimensions = len(network.kernels[0])
    per_stage = "n_conv_per_stage" if network.name == "plain_unet" else "n_blocks_per_stage"
    norm = "instancenorm.InstanceNorm" if network.norm == "instance" else "batchnorm.BatchNorm"
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8] * dimensions,
        "median_image_size_in_voxels": [20.0, 30.0, 31.4][-dimensions:],
        "spacing": [3.0, 0.75, 0.5][-dimensions:],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **make_resampling(),
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{CLASS_NAMES[network.name]}",
            "arch_kwargs": {
                "n_stages": len(network.features),
                "features_per_stage": list(network.features),
                "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
                "kernel_sizes": [list(kernel) for kernel in network.kernels],
                "strides": [list(stride) for stride in network.strides],
                per_stage: list(network.convolutions),
                "n_conv_per_stage_decoder": list(network.decoder_convolutions[::-1]),
                "conv_bias": network.bias,
                "norm_op": f"torch.nn.modules.{norm}{dimensions}d",
                "norm_op_kwargs": {"eps": network.norm_epsilon, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True, "negative_slope": network.slope},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    } | changes


def make_old_configuration(network: NetworkPlan, **changes: Any) -> dict[str, Any]:
    """The same in the format of nnU-Net 2.0 to 2.3; features double from 2 up to 4."""
    content = make_configuration(network)
    del content["architecture"]
    return (
        content
        | {
            "UNet_class_name": CLASS_NAMES[network.name],
            "UNet_base_num_features": 2,
            "unet_max_num_features": 4,
            "n_conv_per_stage_encoder": list(network.convolutions),
            "n_conv_per_stage_decoder": list(network.decoder_convolutions[::-1]),
            "num_pool_per_axis": [1, 2, 2],
            "pool_op_kernel_sizes": [list(stride) for stride in network.strides],
            "conv_kernel_sizes": [list(kernel) for kernel in network.kernels],
        }
        | changes
    )


def make_resampling() -> dict[str, Any]:
    """The entries about resampling, as nnU-Net's planner writes them."""
    entries: dict[str, Any] = {}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        entries[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        entries[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None,
        }  # fmt: skip
    return entries


def make_plans(configurations: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The content of ``plans.json``."""
    return {
        "dataset_name": "Dataset007_Liver",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [3.0, 0.75, 0.5],
        "original_median_shape_after_transp": [20, 40, 50],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": dict(configurations),
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 300.0, "mean": 60.5, "median": 60.0, "min": -200.0, "percentile_00_5": -80.0,
                "percentile_99_5": 180.0, "std": 30.25,
            }
        },
    } | changes  # fmt: skip


def build_network(plan: NetworkPlan, inputs: int = 1, outputs: int = 3, seed: int = 0) -> nn.Module:
    """Our network with drawn weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS.get(plan.name)(plan, inputs, outputs)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_(0.1, 0.3).abs_()  # variances are not negative
    return network.eval()


def name_as_nnunet(plan: NetworkPlan, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's state under nnU-Net's names, aliases included."""
    named: dict[str, Tensor] = {}
    for ours, theirs in pair_names(plan).items():
        named[theirs] = state[ours]
        if ".conv." in theirs or ".norm." in theirs:
            named[theirs.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")] = state[ours]
    return named | {f"decoder.{name}": tensor for name, tensor in named.items() if name.startswith("encoder.")}


def make_checkpoint(state: Mapping[str, Tensor], configuration: str, **changes: Any) -> dict[str, Any]:
    """What nnU-Net's trainer saves, with the numpy scalars of its log and the device it trained on."""
    return {
        "network_weights": dict(state),
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.25)], "lrs": [0.01],
            "dice_per_class_or_region": [[np.float64(0.4), np.float64(0.6)]],
        },
        "_best_ema": np.float64(0.5),
        "current_epoch": 3,
        "init_args": {
            "plans": {}, "configuration": configuration, "fold": 0, "dataset_json": {}, "device": torch.device("cuda"),
        },
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": (0, 1, 2),
    } | changes  # fmt: skip


def write_trained(
    folder: Path,
    configuration: str,
    network: NetworkPlan,
    plans: Mapping[str, Any],
    *,
    folds: Sequence[int | str] = (0,),
    inputs: int = 1,
    outputs: int = 3,
    name: str = "checkpoint_final.pth",
    dataset: Mapping[str, Any] = DATASET,
    **checkpoint: Any,
) -> dict[int | str, nn.Module]:
    """A trainer's folder; returns each fold's network."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    networks = {}
    for seed, fold in enumerate(folds):
        networks[fold] = build_network(network, inputs, outputs, seed)
        state = name_as_nnunet(network, networks[fold].state_dict())
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(make_checkpoint(state, configuration, **checkpoint), folder / f"fold_{fold}" / name)
    return networks
