"""Batches of patches, read ahead in threads, and sent ahead to a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import torch

from medseg.compute import count_cores
from medseg.core.errors import DatasetError
from medseg.training.patches.quarantine import Quarantine
from medseg.training.patches.reading import read_batch
from medseg.training.patches.recipe import Batch, Recipe, Source

__all__ = ["Batch", "Recipe", "Source", "iterate_batches"]

# Batches beyond those that are being read; enough to hide an unlucky one behind a step.
READ_AHEAD = 2
# A patch takes a thread 10 to 30 ms to decode and a GPU's step 50 to 300 ms; more would only hold memory.
MOST_THREADS = 8

CPU = torch.device("cpu")


def count_threads(device: torch.device) -> int:
    """How many threads read: one beside a network on the CPU, which needs the cores itself, else the cores but one."""
    return 1 if device.type == "cpu" else min(MOST_THREADS, max(1, count_cores() - 1))


def iterate_batches(
    sources: Sequence[Source],
    recipe: Recipe,
    first: int,
    last: int | None,
    *,
    threads: int | None = None,
    device: torch.device = CPU,
    quarantine: Quarantine | None = None,
) -> Iterator[Batch]:
    """Batches number ``first`` up to ``last``, read ahead in threads; which thread reads changes nothing.

    Args:
        sources: the training cases.
        recipe: patch, batch and seed.
        first: the number of the first batch.
        last: the number after the last batch; None for no end.
        threads: how many read; by the cores and the device where None.
        device: where the batches are needed; to a CUDA device they are sent while the one before is in use.
        quarantine: cases left out; those that turn out to be damaged are added as the batch that met them is given.
    Returns:
        an iterator of batches. A damaged case is replaced by another, always the same one for the same sample.
    Raises:
        DatasetError: every case is damaged.
    """
    kept = quarantine if quarantine is not None else Quarantine()
    count = threads or count_threads(device)
    read = _read_in_order(sources, recipe, first, last, count, set(kept), pinned=device.type == "cuda")
    with closing(read):
        for batch in _send_ahead(read, device) if device.type == "cuda" else read:
            kept.add(batch.failures)
            if not batch.cases:
                raise _describe_nothing(kept)
            yield batch


def _describe_nothing(quarantine: Quarantine) -> DatasetError:
    return DatasetError(
        f"none of its {len(quarantine.outcomes)} cases can be read; the first: {quarantine.outcomes[0].line()}",
        code="no_cases",
        remedy="Prepare them anew, then train with --restart",
    )


def _read_in_order(
    sources: Sequence[Source],
    recipe: Recipe,
    first: int,
    last: int | None,
    threads: int,
    left_out: set[str],
    *,
    pinned: bool,
) -> Generator[Batch]:
    """Each batch as it would be with one thread: what the batches before it found to be damaged is left out of it."""
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="loader")
    ahead: deque[tuple[int, Future[Batch]]] = deque()
    number = first
    try:
        while True:
            while len(ahead) < threads + READ_AHEAD and (last is None or number < last):
                known = frozenset(left_out)
                ahead.append((number, pool.submit(read_batch, sources, recipe, number, known, pinned=pinned)))
                number += 1
            if not ahead:
                return
            due, future = ahead.popleft()
            batch = future.result()
            if any(sources[case].name in left_out for case in batch.cases):
                batch = read_batch(sources, recipe, due, left_out, pinned=pinned)
            found = tuple(outcome for outcome in batch.failures if outcome.case not in left_out)
            left_out.update(outcome.case for outcome in found)
            yield replace(batch, failures=found)
    finally:
        # Without waiting: the garbage collector may end this in one of the pool's own threads.
        pool.shutdown(wait=False, cancel_futures=True)


def _send_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on a GPU, copied beside its computing, each while the one before is in use."""
    lane = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        sent = _send(batch, device, lane)
        if waiting is not None:
            yield _receive(*waiting, device)
        waiting = sent
    if waiting is not None:
        yield _receive(*waiting, device)


def _send(batch: Batch, device: torch.device, lane: torch.cuda.Stream) -> tuple[Batch, torch.cuda.Event]:
    with torch.cuda.stream(lane):
        images, labels = (part.to(device, non_blocking=True) for part in (batch.images, batch.labels))
    return replace(batch, images=images, labels=labels), lane.record_event()


def _receive(batch: Batch, arrived: torch.cuda.Event, device: torch.device) -> Batch:
    own = torch.cuda.current_stream(device)
    own.wait_event(arrived)
    for part in (batch.images, batch.labels):
        part.record_stream(own)  # its memory is not given away while this stream still reads it
    return batch
