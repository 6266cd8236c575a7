"""Recording a network's work on a GPU once, so that it is started again with a single call."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from medseg.inference.sliding_window import Forward

logger = logging.getLogger(__name__)

# Every recording keeps its own memory for all layers' features; a scan has full batches and one remainder.
MOST_SHAPES = 2
# cuDNN looks for its fastest algorithm during the first calls, which must not be recorded.
WARM_UP_CALLS = 3


@dataclass(frozen=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    windows: Tensor
    logits: Tensor


def capture_forward(forward: Forward) -> Forward:
    """A function on a GPU whose work is recorded at the first call with each shape and replayed after it.

    Args:
        forward: always does the same work for the same shape.
    Returns:
        the same function of windows; where recording fails, ``forward`` itself is called, which is said once.
    """
    recordings: dict[tuple[int, ...], _Recording | None] = {}

    def replay(windows: Tensor) -> Tensor:
        shape = tuple(windows.shape)
        if shape not in recordings:
            taken = sum(recording is not None for recording in recordings.values())
            recordings[shape] = _record(forward, windows) if taken < MOST_SHAPES else None
        recording = recordings[shape]
        if recording is None:
            return forward(windows)
        recording.windows.copy_(windows)
        recording.graph.replay()
        return recording.logits.clone()

    return replay


def _record(forward: Forward, windows: Tensor) -> _Recording | None:
    try:
        static = windows.clone()
        stream = torch.cuda.Stream(windows.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(windows.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                forward(static)
        torch.cuda.current_stream(windows.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            logits = forward(static)
    except torch.cuda.OutOfMemoryError:
        raise  # the caller has smaller batches to try
    except RuntimeError as error:
        logger.warning("the network's work cannot be recorded on the GPU (%s); it is started layer by layer", error)
        return None
    return _Recording(graph, static, logits)
