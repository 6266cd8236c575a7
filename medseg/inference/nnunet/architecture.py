"""The network in nnU-Net's plans, in the present format and the older one, as our network plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import Field

from medseg.core.errors import ModelError
from medseg.core.plan import NetworkPlan
from medseg.core.records import Record
from medseg.inference.nnunet.json_files import MEND, parse_part

# Far above any network that was ever planned, far below what would exhaust a machine.
MOST_STAGES, MOST_FEATURES, MOST_BLOCKS, LARGEST_KERNEL, LARGEST_STRIDE = 12, 4096, 64, 15, 8

NETWORKS = {"PlainConvUNet": "plain_unet", "ResidualEncoderUNet": "residual_unet"}
NORMS: dict[str, Literal["instance", "batch"]] = {"InstanceNorm": "instance", "BatchNorm": "batch"}
NORM_EPSILON = 1e-5  # PyTorch's, where a plan names none
LEAKY_SLOPE = 1e-2  # likewise

Features = Annotated[int, Field(ge=1, le=MOST_FEATURES)]
Blocks = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]
Kernel = Annotated[int, Field(ge=1, le=LARGEST_KERNEL)]
Stride = Annotated[int, Field(ge=1, le=LARGEST_STRIDE)]


class _NormArguments(Record):
    eps: Annotated[float, Field(gt=0, le=1)] = NORM_EPSILON
    affine: Literal[True]
    momentum: Any = None  # moves statistics in training alone


class _ActivationArguments(Record):
    negative_slope: Annotated[float, Field(ge=0, le=1)] = LEAKY_SLOPE
    inplace: Any = None


class _Arguments(Record):
    """``arch_kwargs``, each number spread out to one per stage; what would change the network otherwise is refused."""

    n_stages: Annotated[int, Field(ge=2, le=MOST_STAGES)]
    features_per_stage: tuple[Features, ...]
    conv_op: str
    kernel_sizes: tuple[tuple[Kernel, ...], ...]
    strides: tuple[tuple[Stride, ...], ...]
    n_conv_per_stage: tuple[Blocks, ...]
    n_conv_per_stage_decoder: tuple[Blocks, ...]
    conv_bias: bool = False
    norm_op: str
    norm_op_kwargs: _NormArguments
    nonlin: str
    nonlin_kwargs: _ActivationArguments = _ActivationArguments()
    nonlin_first: Literal[False] = False
    block: Literal[None, "dynamic_network_architectures.building_blocks.residual.BasicBlockD"] = None
    bottleneck_channels: Any = None  # of another kind of block
    stem_channels: int | None = None
    # Dropout does nothing in prediction; deep supervision adds outputs that prediction does not read.
    dropout_op: Any = None
    dropout_op_kwargs: Any = None
    deep_supervision: Any = None


def read_network(configuration: Mapping[str, Any], patch_size: Sequence[int], file: str | Path) -> NetworkPlan:
    """The network plan that a configuration of ``plans.json`` describes.

    Args:
        configuration: with ``architecture``, or with ``UNet_class_name`` and the older format's other keys.
        patch_size: of that configuration; its length is the number of dimensions.
        file: where it was read, for messages.
    Returns:
        the plan of a plain or residual U-Net.
    Raises:
        ModelError: another network, or a plain one with parts that medseg does not have.
        FormatError: keys are missing or numbers absurd.
    """
    class_name, content = _find_arguments(configuration, file)
    name = NETWORKS.get(class_name)
    if name is None:
        raise ModelError(
            f"the network {class_name[:80]!r} is not supported",
            code="other_network",
            file=file,
            remedy=f"Supported: {', '.join(NETWORKS)}",
        )
    arguments = parse_part(_Arguments, _spread(content, len(patch_size)), file)
    _check_stages(arguments, patch_size, file)
    dimensions = len(patch_size)
    activation = _name_operation(arguments.nonlin)
    if activation not in ("LeakyReLU", "ReLU"):
        raise _refuse_part("activation", arguments.nonlin, file, "LeakyReLU, ReLU")
    norm = NORMS.get(_name_operation(arguments.norm_op).removesuffix(f"{dimensions}d"))
    if norm is None:
        raise _refuse_part("norm", arguments.norm_op, file, ", ".join(NORMS))
    if _name_operation(arguments.conv_op) != f"Conv{dimensions}d":
        raise _refuse_part(
            "convolution", arguments.conv_op, file, f"Conv{dimensions}d, as the patch has {dimensions} axes"
        )
    return NetworkPlan(
        name=name,
        features=arguments.features_per_stage,
        strides=arguments.strides,
        kernels=arguments.kernel_sizes,
        convolutions=arguments.n_conv_per_stage,
        decoder_convolutions=arguments.n_conv_per_stage_decoder[::-1],  # nnU-Net counts from the coarsest stage
        bias=arguments.conv_bias,
        norm=norm,
        norm_epsilon=arguments.norm_op_kwargs.eps,
        slope=arguments.nonlin_kwargs.negative_slope if activation == "LeakyReLU" else 0.0,
    )


def _find_arguments(configuration: Mapping[str, Any], file: str | Path) -> tuple[str, dict[str, Any]]:
    """The network's class and its arguments under the present format's names."""
    architecture = configuration.get("architecture")
    if isinstance(architecture, Mapping):
        class_name, content = architecture.get("network_class_name"), architecture.get("arch_kwargs")
        if isinstance(class_name, str) and isinstance(content, Mapping):
            return _name_operation(class_name), dict(content)
        found = f"network_class_name {str(class_name)[:80]!r} and {type(content).__name__} as arch_kwargs"
        raise ModelError(f"its architecture has {found}", code="bad_plan", file=file, remedy=MEND)
    class_name = configuration.get("UNet_class_name")
    if not isinstance(class_name, str):
        raise ModelError("it has neither architecture nor UNet_class_name", code="bad_plan", file=file, remedy=MEND)
    return class_name, _modernise(configuration, file)


def _modernise(configuration: Mapping[str, Any], file: str | Path) -> dict[str, Any]:
    """The older format's keys as ``arch_kwargs``; norm, activation and bias were always these.

    Source: nnU-Net 2.8.1, ``ConfigurationManager``, which still reads that format.
    """
    convolutions = configuration.get("n_conv_per_stage_encoder")
    base, most = configuration.get("UNet_base_num_features"), configuration.get("unet_max_num_features")
    if not isinstance(convolutions, list) or not _is_count(base) or not _is_count(most):
        missing = "n_conv_per_stage_encoder, UNet_base_num_features or unet_max_num_features"
        raise ModelError(f"{missing} is missing or no number", code="bad_plan", file=file)
    dimensions = len(configuration.get("patch_size") or ())
    return {
        "n_stages": len(convolutions),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(min(len(convolutions), MOST_STAGES))],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": configuration.get("conv_kernel_sizes"),
        "strides": configuration.get("pool_op_kernel_sizes"),
        "n_conv_per_stage": convolutions,
        "n_conv_per_stage_decoder": configuration.get("n_conv_per_stage_decoder"),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": NORM_EPSILON, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    }


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _spread(content: Mapping[str, Any], dimensions: int) -> dict[str, Any]:
    """The arguments with one entry per stage, and one number per axis, where one number stood for all."""
    found = {key: value for key, value in content.items() if value is not None or not key.endswith("_kwargs")}
    if "n_blocks_per_stage" in found:  # the residual encoder's name
        found["n_conv_per_stage"] = found.pop("n_blocks_per_stage")
    stages = found.get("n_stages")
    if not _is_count(stages) or stages > MOST_STAGES:
        return found  # refused for it
    for key in ("features_per_stage", "n_conv_per_stage", "kernel_sizes", "strides"):
        if _is_count(found.get(key)):
            found[key] = [found[key]] * stages
    if _is_count(found.get("n_conv_per_stage_decoder")):
        found["n_conv_per_stage_decoder"] = [found["n_conv_per_stage_decoder"]] * (stages - 1)
    for key in ("kernel_sizes", "strides"):
        if isinstance(found.get(key), list):
            found[key] = [[value] * dimensions if _is_count(value) else value for value in found[key]]
    return found


def _check_stages(arguments: _Arguments, patch_size: Sequence[int], file: str | Path) -> None:
    """Whether the lists fit one another, and the patch the strides."""
    faults = _compare_lengths(arguments, len(patch_size))
    if not faults:
        divisors = [math.prod(steps) for steps in zip(*arguments.strides, strict=True)]
        if max(arguments.strides[0]) > 1:
            faults.append(f"the first stage has the strides {list(arguments.strides[0])}, expected 1")
        even = [list(kernel) for kernel in dict.fromkeys(arguments.kernel_sizes) if not all(k % 2 for k in kernel)]
        if even:
            faults.append(f"kernels are even: {', '.join(map(str, even))}")
        if any(size % divisor for size, divisor in zip(patch_size, divisors, strict=True)):
            faults.append(f"the patch {list(patch_size)} is not divisible by the strides' products {divisors}")
    first = arguments.features_per_stage[:1]
    if arguments.stem_channels is not None and (arguments.stem_channels,) != first:
        faults.append(f"stem_channels are {arguments.stem_channels}, expected {list(first)} as in the first stage")
    if faults:
        raise ModelError(f"the network cannot be: {'; '.join(faults)}", code="bad_plan", file=file, remedy=MEND)


def _compare_lengths(arguments: _Arguments, dimensions: int) -> list[str]:
    """Which lists have not an entry per stage, or entries without a number per axis."""
    stages, encoder = arguments.n_stages, ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage")
    wrong: dict[tuple[int, int], list[str]] = {}
    for name in (*encoder, "n_conv_per_stage_decoder"):
        found, expected = len(getattr(arguments, name)), stages if name in encoder else stages - 1
        if found != expected:
            wrong.setdefault((found, expected), []).append(name)
    faults = [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} {found} entries, expected {expected} by n_stages"
        for (found, expected), names in wrong.items()
    ]
    odd = dict.fromkeys(entry for entry in (*arguments.kernel_sizes, *arguments.strides) if len(entry) != dimensions)
    listed = ", ".join(str(list(entry)) for entry in list(odd)[:3])
    return [*faults, f"{listed} where the patch has {dimensions} axes"] if odd else faults


def _name_operation(path: str) -> str:
    """``torch.nn.modules.conv.Conv3d`` as ``Conv3d``."""
    return path.rpartition(".")[2]


def _refuse_part(what: str, name: str, file: str | Path, known: str) -> ModelError:
    reason = f"the {what} {name[:80]!r} is not supported"
    return ModelError(reason, code="other_network", file=file, remedy=f"Supported: {known}")
