"""RLE of DICOM: each byte of the values in a segment of its own, packed by runs.

Source: DICOM PS3.5, annex G.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.loops import compile_loop


def decode_rle(data: bytes, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a frame.

    Args:
        data: the frame: a table of segments and the segments, the highest bytes of all values first.
        count: how many values there are.
        dtype: of them, one sample per pixel.
    Returns:
        the values, (count,).
    Raises:
        ValueError: another number of segments than bytes per value, or a segment that holds fewer bytes than values.
    """
    segments, *offsets = struct.unpack_from("<16I", data)
    if segments != dtype.itemsize:
        raise ValueError(f"the compressed frame has {segments} segments, expected {dtype.itemsize}")
    planes = np.empty((count, dtype.itemsize), np.uint8)
    source = np.frombuffer(data, np.uint8)
    stops = [*offsets[1:segments], len(data)]
    for number, (start, stop) in enumerate(zip(offsets[:segments], stops, strict=True)):
        filled = _unpack(source[start:stop], planes, dtype.itemsize - 1 - number)
        if filled < count:
            raise ValueError(f"segment {number + 1} of the compressed frame holds {filled} values, expected {count}")
    return planes.reshape(-1).view(dtype.newbyteorder("<")).astype(dtype, copy=False)


def _unpack_loop(source: NDArray[np.uint8], target: NDArray[np.uint8], column: int) -> int:
    read, written, count = 0, 0, target.shape[0]
    while read < source.size and written < count:
        code = int(source[read])
        read += 1
        if code < 128:
            stop = min(code + 1, source.size - read, count - written)
            for step in range(stop):
                target[written + step, column] = source[read + step]
            read += code + 1
            written += stop
        elif code > 128:
            if read >= source.size:
                break
            stop = min(257 - code, count - written)
            for step in range(stop):
                target[written + step, column] = source[read]
            read += 1
            written += stop
    return written


_unpack = compile_loop(_unpack_loop)
