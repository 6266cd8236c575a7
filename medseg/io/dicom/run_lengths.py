"""RLE of DICOM: each byte of the values in a segment of its own, packed by runs.

Source: DICOM PS3.5, annex G.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    stops = [*offsets[1:segments], len(data)]
    for number, (start, stop) in enumerate(zip(offsets[:segments], stops, strict=True)):
        try:
            planes[:, dtype.itemsize - 1 - number] = _unpack(data[start:stop], count)
        except ValueError:
            raise ValueError(f"segment {number + 1} of the compressed frame does not hold {count} values") from None
    return planes.reshape(-1).view(dtype.newbyteorder("<")).astype(dtype, copy=False)


def _unpack(segment: bytes, count: int) -> NDArray[np.uint8]:
    """Bytes of a segment; its packing is that of TIFF (PackBits), which Pillow decodes a line at a time."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the size was checked against the header's
    line = Image.frombytes("L", (count, 1), segment, "packbits", "L")
    return np.frombuffer(line.tobytes(), np.uint8)
