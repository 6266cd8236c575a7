"""Small scans, each of which fits one window: many make a batch on a GPU, and on a processor each has a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medseg.inference.engines.threads import compute_each
from medseg.inference.engines.torch_engine import WindowByWindow
from medseg.inference.members import LoadedMember
from medseg.inference.predictor import Prediction, Predictor
from medseg.inference.segment import PreparedScan
from medseg.inference.sliding_window import Forward, average_flips, pad_to_patch
from medseg.inference.streaming import choose_together

# Elsewhere the networks compute windows one by one, which is no slower there.
BATCHING_DEVICES = ("cuda", "mps", "xpu")


def count_together(predictor: Predictor) -> int:
    """How many scans of one window each are worth computing at the same time; 1 where that would gain nothing."""
    if computes_apart(predictor):
        return torch.get_num_threads()
    if predictor.device.type not in BATCHING_DEVICES:
        return 1
    if any(member.previous is not None for member in predictor.members):
        return 1  # a cascade's second stage reads masks of the first, one scan at a time
    counts: list[int] = [
        choose_together(member.configuration.patch_size, predictor.device) // 2 ** len(_flipped_axes(member))
        for member in predictor.members
    ]
    return max(1, min(counts))


def computes_apart(predictor: Predictor) -> bool:
    """Whether small scans go each through a thread of its own: what stands around the networks then does so too."""
    several = predictor.window.together is not None and predictor.window.together > 1
    # Last digits of probabilities depend on how many threads compute them; masks depend on those of several members.
    alone = len(predictor.members) == 1
    return predictor.device.type == "cpu" and predictor.engine == "torch" and several and alone


def fits_one_window(prepared: PreparedScan, members: Sequence[LoadedMember]) -> bool:
    """Whether every network sees the whole scan in a single window."""
    return all(
        length <= size
        for stages, member in zip(prepared.stages, members, strict=True)
        for length, size in zip(stages[-1].grid.resampled_shape, member.configuration.patch_size, strict=True)
    )


def predict_together(
    predictor: Predictor, scans: Sequence[PreparedScan], *, with_probabilities: bool = False
) -> list[Prediction]:
    """The masks of several small scans, whose windows go through the networks as one batch, or each in a thread.

    Args:
        predictor: without a cascade where it makes batches.
        scans: each of which fits one window of every network.
        with_probabilities: also return probabilities.
    Returns:
        a prediction per scan, as ``Predictor.segment`` gives it; the same to the last bit where the networks' library
        computes each window of a batch as it computes the window alone.
    """
    if computes_apart(predictor) and with_probabilities:
        return [predictor.segment(scan, with_probabilities=True) for scan in scans]
    if computes_apart(predictor):
        alone = replace(predictor, window=replace(predictor.window, together=1))
        found = compute_each(lambda scan: alone.segment(scan, with_probabilities=with_probabilities), scans)
        return [replace(prediction, provenance=predictor.provenance) for prediction in found]
    answers = [
        _answer_windows(member, [scan.stages[number][-1].image for scan in scans], predictor)
        for number, member in enumerate(predictor.members)
    ]
    predictions = []
    for number, scan in enumerate(scans):
        members = tuple(
            replace(member, mirror_axes=(), forwards=_recall(answer, number))
            for member, answer in zip(predictor.members, answers, strict=True)
        )
        prediction = replace(predictor, members=members).segment(scan, with_probabilities=with_probabilities)
        predictions.append(replace(prediction, provenance=predictor.provenance))
    return predictions


def agree_together(predictor: Predictor, scans: Sequence[PreparedScan]) -> bool:
    """Whether the networks answer small scans together, to the last bit, as they answer each alone."""
    if computes_apart(predictor):
        return all(_agrees_apart(member) for member in predictor.members)
    for number, member in enumerate(predictor.members):
        images = [scan.stages[number][-1].image for scan in scans]
        batch = _answer_windows(member, images, predictor)
        alone = [_answer_windows(member, [image], predictor, predictor.window.together) for image in images]
        for position, answers in enumerate(alone):
            if not all(torch.equal(one[0], many[position]) for one, many in zip(answers, batch, strict=True)):
                return False
    return True


def _agrees_apart(member: LoadedMember) -> bool:
    """Whether a thread alone gives the bits that all threads give: for a window of a network's only shape."""
    inputs = member.plan.count_inputs(member.configuration)
    window = torch.Size([inputs, *member.configuration.patch_size])
    return all(isinstance(forward, WindowByWindow) and forward.agrees_apart(window) for forward in member.forwards)


@torch.inference_mode()
def _answer_windows(
    member: LoadedMember, images: Sequence[np.ndarray], predictor: Predictor, together: int | None = None
) -> list[Tensor]:
    """For each network its mean logits over mirrored copies, (scan, output, a, b, c), on the predictor's device."""
    size, axes = member.configuration.patch_size, _flipped_axes(member)
    padded = [pad_to_patch(torch.from_numpy(np.ascontiguousarray(image)), size)[0] for image in images]
    windows = torch.stack(padded).to(predictor.device)
    together = together or choose_together(size, predictor.device)
    return [average_flips(forward, windows, axes, together) for forward in member.forwards]


def _recall(answers: Sequence[Tensor], number: int) -> tuple[Forward, ...]:
    """Networks that know the answer to one scan's only window."""

    def remember(answer: Tensor) -> Forward:
        return lambda _: answer

    return tuple(remember(answer[number : number + 1]) for answer in answers)


def _flipped_axes(member: LoadedMember) -> tuple[int, ...]:
    """The axes along which windows are mirrored; flipping a single voxel changes nothing."""
    return tuple(axis for axis in member.mirror_axes if member.configuration.patch_size[axis] > 1)
