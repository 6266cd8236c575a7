"""A loop over cases that no single case can stop."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from medseg.compute.devices import count_cores
from medseg.core.disk import is_disk_fault
from medseg.core.manifest import CaseOutcome, outcome_of_error

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def map_cases(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    name_of: Callable[[Item], str],
    *,
    threads: int | None = None,
    title: str = "",
) -> tuple[list[Result], list[CaseOutcome]]:
    """Apply ``function`` to every item in threads; a failing item becomes an outcome and the others go on.

    Args:
        function: what to do with one item.
        items: the cases or whatever stands for them.
        name_of: an item's name, for messages.
        threads: how many at once; the machine's cores where None.
        title: what the progress bar says; no bar where empty.
    Returns:
        the results in the items' order without the failed ones, and an outcome per failed item.
    Raises:
        OSError, ResourceError: a full or read-only disk, to which no other case could be written either.
    """
    results: dict[int, Result] = {}
    failures: dict[int, CaseOutcome] = {}
    pool = ThreadPoolExecutor(max_workers=max(1, threads or count_cores()))
    try:
        running = {pool.submit(function, item): index for index, item in enumerate(items)}
        for future in _track(running, title):
            index = running[future]
            try:
                results[index] = future.result()
            except Exception as error:  # one case's fault, whatever it is, never stops the others
                if is_disk_fault(error):  # which is no case's
                    raise
                failures[index] = outcome_of_error(error, name_of(items[index]))
                logger.error("%s", failures[index].line())
                logger.debug("details", exc_info=error)
    finally:
        # Where the loop ends early, what its threads have begun is not waited for here.
        pool.shutdown(wait=len(results) + len(failures) == len(items), cancel_futures=True)
    return [results[index] for index in sorted(results)], [failures[index] for index in sorted(failures)]


def _track(futures: Iterable[Future[Result]], title: str) -> Iterable[Future[Result]]:
    pending = set(futures)
    # A bar that cannot move would leave empty lines in a log.
    if not title or not pending or not sys.stderr.isatty():
        yield from _finished(pending)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=len(pending))
        for future in _finished(pending):
            yield future
            progress.advance(task)


def _finished(pending: set[Future[Result]]) -> Iterable[Future[Result]]:
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from done
