"""What processes that train together decide alike: how long, when to save, when to stop, which cases are damaged."""

from __future__ import annotations

import time

from medseg.training.pace import Pace, follow_pace
from medseg.training.run_state import Run
from medseg.training.stopping import StopRequest, StopTraining

# Within an epoch a checkpoint is written where the last one is this old.
LONGEST_UNSAVED_SECONDS = 600.0


def end_step(run: Run, pace: Pace, request: StopRequest) -> bool:
    """Look at the clock, which is the first process's, and at what the processes were told by signals.

    Args:
        run: its number of steps is set or changed as the budget asks.
        pace: the clock.
        request: of this process; one that another process got is noted as its own.
    Returns:
        whether it is time for a checkpoint; before training stops, that is for ``stop_together``.
    """
    progress, ranks, late = run.progress, run.job.ranks, False
    if ranks.is_first:
        follow_pace(run.job, progress, pace)
        late = time.monotonic() - run.saved_at > LONGEST_UNSAVED_SECONDS
    total, save, signal = ranks.take_largest([_own_total(run), int(late), request.number or 0])
    if not ranks.is_first and total:
        if progress.total is None:
            progress.total = total
        elif progress.total != total:
            progress.change_total(total)
    if signal:  # nothing is taken back: one may have come since the processes were asked
        request.number = signal
    return bool(save)


def _own_total(run: Run) -> int:
    # 0 of the others: theirs may be the number from before the budget's last look at the clock, which was larger.
    return (run.progress.total or 0) if run.job.ranks.is_first else 0


def stop_together(run: Run, request: StopRequest) -> None:
    """Raise StopTraining in all processes where one of them got a signal; all must call it at the same places."""
    (signal,) = run.job.ranks.take_largest([request.number or 0])
    if signal:
        request.number = signal
        raise StopTraining


def share_quarantine(run: Run) -> None:
    """Let all processes leave out what one of them found to be damaged."""
    for facts in run.job.ranks.gather(run.quarantine.facts):
        run.quarantine.load(facts)
