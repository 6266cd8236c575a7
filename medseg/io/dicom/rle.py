"""RLE compression of label maps (DICOM PS3.5, annex G), without a codec that can crash.

GDCM's encoder ends the process on frames of an odd number of pixels; pydicom's takes seconds for a scan.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONGEST_RUN = 128


def encode_frame(frame: NDArray[Any]) -> bytes:
    """One frame, compressed.

    Args:
        frame: (row, column), uint8 or uint16; small where values stay the same along rows, as labels do.
    Returns:
        the header and a segment per byte of a pixel, the most significant one first, each of even length.
    """
    size = frame.dtype.itemsize
    stored = np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder(">"))
    parts = stored.view(np.uint8).reshape(*frame.shape, size)
    segments = [_encode_bytes(parts[..., place]) for place in range(size)]
    offsets = np.cumsum([64, *map(len, segments[:-1])]).tolist()
    header = struct.pack("<16I", size, *offsets, *[0] * (15 - size))
    return header + b"".join(segments)


def _encode_bytes(rows: NDArray[np.uint8]) -> bytes:
    """Runs of equal bytes as (257 - length, byte), single ones as (0, byte); none crosses the end of a row (G.3.1)."""
    flat = rows.reshape(-1)
    begins = np.empty(flat.size, bool)
    begins[0] = True
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[:: rows.shape[1]] = True
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=flat.size)
    pieces = -(-lengths // _LONGEST_RUN)
    if pieces.max() > 1:
        # A run is cut into pieces of 128 and what is left.
        owner = np.repeat(np.arange(len(starts)), pieces)
        order = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        starts = starts[owner]
        lengths = np.minimum(lengths[owner] - order * _LONGEST_RUN, _LONGEST_RUN)
    coded = np.empty((len(starts), 2), np.uint8)
    coded[:, 0] = np.where(lengths == 1, 0, 257 - lengths)
    coded[:, 1] = flat[starts]
    return coded.tobytes()
