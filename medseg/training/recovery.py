"""What a training does where something goes wrong: skip, go back, spend less memory, save."""

from __future__ import annotations

import logging

import torch

from medseg.core.errors import PlanError, ResourceError
from medseg.networks import checkpoint_gradients
from medseg.training.run_state import Run, finish_writing, save_run, unpack_state
from medseg.training.stopping import StopRequest

logger = logging.getLogger(__name__)

BAD_STEPS_IN_A_ROW = 3
# Each halves the learning rate; what still fails at an eighth of it is no matter of the rate.
ROLLBACKS = 3


def settle(run: Run, *, keep: int) -> None:
    """Look at the outcomes of all steps but the last ``keep``: count the loss, or the bad step.

    Args:
        run: its pending outcomes.
        keep: how many of them are left for later.
    Raises:
        ResourceError: too many bad steps in a row, too often.
    """
    progress = run.progress
    while len(run.pending) > keep:
        outcome = run.pending.popleft()
        loss, good = torch.stack([outcome.loss.float(), outcome.good.float()]).tolist()
        if good:
            progress.bad_steps = 0
            progress.losses.append(loss)
            continue
        progress.bad_steps += 1
        progress.skipped += 1
        if progress.bad_steps >= BAD_STEPS_IN_A_ROW:
            _roll_back(run)


def _roll_back(run: Run) -> None:
    """Go back to the last good weights with half the learning rate; the batches go on, so that a budget is kept."""
    progress = run.progress
    run.pending.clear()
    progress.bad_steps = 0
    progress.rollbacks += 1
    if progress.rollbacks > ROLLBACKS:
        raise ResourceError(
            f"{run.job.title}: the loss or its gradient was not finite {BAD_STEPS_IN_A_ROW} times in a row, and again "
            f"after going back {ROLLBACKS} times, each with half the learning rate",
            code="loss_not_finite",
            remedy="Lower the learning rate (--set learning_rate=...), use --set precision=float32, or look for "
            "numbers that are not finite in the images",
        )
    unpack_state(run, run.good)
    run.progress.say(
        f"step {progress.step}: the loss or its gradient was not finite {BAD_STEPS_IN_A_ROW} times in a row; the "
        f"weights of step {run.good_step} are taken again, with half the learning rate; where this comes often, lower "
        "--set learning_rate or use --set precision=float32"
    )
    logger.warning("%s: %s", run.job.title, progress.alarms[-1])


def spend_less_memory(run: Run) -> bool:
    """Compute features twice from now on, which takes less memory.

    Args:
        run: whose step did not fit; the step is taken again.
    Returns:
        False where the network does that already or cannot, or several processes train it.
    """
    if run.saves_memory or run.job.ranks.count > 1:  # the other processes may be waiting for this one's gradients
        return False
    try:
        checkpoint_gradients(run.learner.network)
    except PlanError:
        return False
    run.saves_memory = True
    run.learner.optimiser.zero_grad(set_to_none=True)
    alarm = (
        f"memory fallback: a training step did not fit into the memory of {run.learner.device}, so that features are "
        "computed twice now, which takes a third more time; a plan for less --gpu-memory-gb, or a smaller "
        "--set batch_size=..., would be faster"
    )
    if run.progress.say(alarm):
        logger.warning("%s: %s", run.job.title, alarm)
    return True


def save_what_stands(run: Run, request: StopRequest, error: BaseException) -> None:
    """After a fault or a signal: keep what was trained, and the first error as the one that is told.

    Args:
        run: its state is whole, whatever happened.
        request: told when it is saved.
        error: what ended the training.
    """
    if isinstance(error, ResourceError) and error.code == "loss_not_finite":
        return  # the checkpoint before is the better state
    try:
        with request.changing:
            settle(run, keep=0)
            if run.progress.step != run.saved_step:
                save_run(run, wait=True)
            finish_writing(run)
            request.over.set()
    except Exception as second:  # such as the full disk that was the first error
        logger.error("%s: the training could not be saved: %s", run.job.title, second)
