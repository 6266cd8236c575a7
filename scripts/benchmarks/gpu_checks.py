"""Whether a device computes what the CPU computes: logits, augmentation, a short training; what memory it takes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from benchmarks.gpu_scene import LABELS, NAME, Size, draw_scan, make_plan, prepare_scans

# Of the range of the logits: rounding in float32, and in bfloat16 with its 8 bits. TF32 would give about 1e-3.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
# Of the range: sums of windows in half precision, whose 11 bits round each of a few additions by up to 2^-11.
HALF_SUMS = 2e-3
FIRM_SHARE = 0.99
AUGMENTED_BATCHES = 24
LABEL_AGREEMENT = 0.99  # nearest-neighbour labels may fall on either side of a tie
STEPS = 60
MEMORY_TOLERANCE = 0.15  # of the measured peak

Row = tuple[str, bool, str]


def check_logits(size: Size, device: torch.device) -> list[Row]:
    """One network and scan on the CPU in float64 are the truth; the CPU and the device are held to it.

    The network's own answer to one patch shows how exactly it is computed; the sliding window's logits are sums in half
    precision, as nnU-Net has them, and cannot be nearer than its rounding. In a scan's corners, where the weights of a
    window are the smallest halves, logits are rounded to whole numbers; the hundredth of the voxels that differ most is
    left out there.
    """
    from medseg.inference import as_forward, predict_logits
    from medseg.networks import build_network

    torch.manual_seed(0)
    configuration = make_plan(size).configuration(NAME)
    network = build_network(configuration, 1, LABELS.channel_count).eval()
    image = torch.from_numpy(draw_scan(size, 7)[0].array)
    patch = image[(None, slice(None), *(slice(length) for length in size.patch))]

    def predict(
        where: torch.device, precision: torch.dtype, *, double: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kind = torch.float64 if double else torch.float32
        forward = as_forward(copy.deepcopy(network).to(where, kind), 3, precision)
        with torch.inference_mode():
            answer = forward(patch.to(where, kind)).cpu()
        logits = predict_logits(forward, image.to(kind), size.patch, mirror_axes=(0,), device=where).cpu()
        return answer.double(), logits.double()

    cpu = torch.device("cpu")
    truths = predict(cpu, torch.float32, double=True)
    rows = []
    for where, precision in dict.fromkeys([(cpu, "float32"), (device, "float32"), (device, "bfloat16")]):
        found = predict(where, getattr(torch, precision))
        for what, given, truth in zip(("network", "sliding window"), found, truths, strict=True):
            errors = (given - truth).abs().flatten().sort().values / (truth.max() - truth.min())
            error = float(errors[-1] if what == "network" else errors[int(FIRM_SHARE * len(errors))])
            channels = given.ndim - 4  # a patch comes with its place in the batch before them
            same = float((given.argmax(channels) == truth.argmax(channels)).double().mean())
            tolerance = TOLERANCES[precision] + (HALF_SUMS if what == "sliding window" else 0)
            text = f"largest error {error:.1e} of the range, the same label in {100 * same:.2f} % of voxels"
            rows.append((f"{what}, {where.type} {precision}", error <= tolerance, text))
    return rows


def check_augmentation(size: Size, device: torch.device) -> list[Row]:
    """Augmented batches on the device are finite, of the patch's size, and have the labels that the CPU gives."""
    from medseg.augmentation import Scene, augment_batch, enlarge_patch

    scene = Scene(size.patch, 1, False, (0, 1, 2))
    read = enlarge_patch(size.patch, flat_rotation=False)
    finite, shaped, agreement = True, True, []
    for number in range(AUGMENTED_BATCHES):
        images = torch.randn(size.batch, 1, *read, generator=torch.Generator().manual_seed(number))
        labels = (images[:, 0] > 0).to(torch.uint8)
        results = []
        for where in (torch.device("cpu"), device):
            generators = [np.random.default_rng([number, slot]) for slot in range(size.batch)]
            results.append(augment_batch(images.to(where, copy=True), labels.to(where, copy=True), generators, scene))
        (_, expected), (image, label) = results
        finite &= bool(torch.isfinite(image).all())
        shaped &= image.shape == (size.batch, 1, *size.patch) and label.shape == (size.batch, *size.patch)
        agreement.append(float((label.cpu() == expected).float().mean()))
    text = f"{AUGMENTED_BATCHES} batches: {'all' if finite else 'not all'} finite, labels as on the CPU in "
    text += f"{100 * min(agreement):.2f} % of voxels or more"
    return [(f"augmentation, {device.type}", finite and shaped and min(agreement) >= LABEL_AGREEMENT, text)]


def check_training(size: Size, device: torch.device, folder: Path) -> list[Row]:
    """A few steps of training lower the loss and leave finite weights."""
    from medseg.training import train_fold

    plan = make_plan(size, optimiser="adamw", rate=3e-3)
    configuration = plan.configuration(NAME)
    cases = prepare_scans(size, plan, folder / "prepared")
    epochs = STEPS // configuration.training.iterations_per_epoch
    trained = train_fold(plan, configuration, cases[1:], cases[:1], folder / "run", epochs=epochs, device=str(device))
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in trained.weights.values())
    first, last = trained.history[0].loss, trained.history[-1].loss
    dice = {name: "-" if value is None else f"{value:.2f}" for name, value in trained.history[-1].patch_dice.items()}
    text = f"{epochs * configuration.training.iterations_per_epoch} steps: loss {first:.3f} to {last:.3f}, patch Dice "
    text += ", ".join(f"{name} {value}" for name, value in dice.items())
    return [(f"training, {device.type}", finite and last < first, text)]


def check_memory(sizes: Sequence[Size], device: torch.device) -> list[Row]:
    """The predicted memory of a training step is the measured one: plain and residual U-Nets, with checkpointing too.

    On a CPU, whose libraries do not tell their memory, nothing is held to anything: its rows pass and say so.
    """
    from medseg.training.dry_run import note_memory
    from medseg.training.settings import change_settings

    rows = []
    for size, network, twice in product(sizes, ("plain_unet", "residual_unet"), ("false", "true")):
        plan = make_plan(size)
        settings = {"network": network, "gradient_checkpointing": twice, "ema_decay": "0.99"}
        configuration = change_settings(plan.configuration(NAME), settings)
        noted = note_memory(plan, configuration, title=size.name, device=str(device))
        name = f"memory, {device.type} {size.name} {network}{' checkpointed' if twice == 'true' else ''}"
        if noted.measured_memory_gb is None or noted.memory_gb is None:
            rows.append((name, device.type == "cpu", f"{noted.memory_gb:.2f} GB predicted, not measured"))
            continue
        ratio = noted.memory_gb / noted.measured_memory_gb
        text = f"{noted.memory_gb:.2f} GB predicted, {noted.measured_memory_gb:.2f} GB measured, ratio {ratio:.2f}"
        rows.append((name, abs(ratio - 1) <= MEMORY_TOLERANCE, text))
    return rows
