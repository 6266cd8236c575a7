"""The child process that decodes compressed frames: codecs written in C may die of damaged data.

Run as a script by ``compressed.py``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.compute.child import Answer, serve
from medseg.core.errors import FormatError
from medseg.io.dicom.codestream import RLE, inspect_codestream

# First choice first; each refuses what it cannot read, so that the next may try.
_PLUGINS = ("pyjpegls", "pylibjpeg", "gdcm", "pydicom")
# pydicom keeps GDCM from 12 bits under the name of JPEG Extended; by that of lossless JPEG it decodes what is there.
_ASKED_AS = {"1.2.840.10008.1.2.4.51": "1.2.840.10008.1.2.4.57"}
_ITEM = b"\xfe\xff\x00\xe0"
# What libjpeg, in GDCM, writes to the console while it fills the rest of a damaged frame with whatever it has.
_COMPLAINTS = (b"Corrupt JPEG data", b"Premature end", b"Invalid JPEG", b"Bogus")
_HARMLESS = b"extraneous bytes before marker"


def decode_batch(request: dict[str, Any]) -> Answer:
    """The frames of one request, decoded one after another; the first that cannot be is answered with the reason."""
    parts: list[NDArray[Any]] = []
    for number, (name, fragments) in enumerate(request["frames"]):
        try:
            with Path(name).open("rb") as stream:
                data = b"".join(_read(stream, offset, size) for offset, size in fragments)
            parts.append(_decode(data, request))
        except MemoryError:
            raise
        except Exception as error:  # on damaged data libraries raise errors of every kind
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return {"frame": number, "reason": lines[-1][-200:]}, b""
    joined = np.concatenate([part.reshape(-1) for part in parts])
    return {"dtype": joined.dtype.name}, joined.view(np.uint8).data


def _read(stream: Any, offset: int, size: int) -> bytes:
    stream.seek(offset)
    data: bytes = stream.read(size)
    if len(data) != size:
        raise ValueError("the file ends within the compressed frame")
    return data


def _decode(data: bytes, request: dict[str, Any]) -> NDArray[Any]:
    syntax, rows, columns = request["syntax"], request["rows"], request["columns"]
    found = inspect_codestream(data, syntax)
    size = (found.rows or rows, found.columns or columns, found.samples or 1)
    if size != (rows, columns, 1):
        raise ValueError(
            f"the compressed frame has {size[0]} rows, {size[1]} columns and {size[2]} values per pixel, expected"
            f" {rows}, {columns} and 1"
        )
    if (found.bits or 1) > request["bits_allocated"]:
        raise ValueError(f"the compressed frame has {found.bits} bits, expected at most {request['bits_allocated']}")
    dtype = np.dtype(request["dtype"])
    if syntax == RLE:
        from medseg.io.dicom.run_lengths import decode_rle

        return decode_rle(data, rows * columns, dtype)
    pixels = _try_plugins(data, request)
    if pixels.shape != (rows, columns):
        raise ValueError(f"the decoder gave an array of {pixels.shape}, expected {(rows, columns)}")
    return np.ascontiguousarray(pixels.astype(dtype, copy=False))


def _try_plugins(data: bytes, request: dict[str, Any]) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(_ASKED_AS.get(request["syntax"], request["syntax"]))
    available = decoder.available_plugins
    names = [name for name in _PLUGINS if name in available]
    if not names:
        raise FormatError(f"no decoder for transfer syntax {request['syntax']} is installed")
    padded = data + b"\0" * (len(data) % 2)
    wrapped = _ITEM + bytes(4) + _ITEM + len(padded).to_bytes(4, "little") + padded
    reason = ""
    options: dict[str, Any] = {
        "pixel_keyword": "PixelData", "number_of_frames": 1, "rows": request["rows"], "columns": request["columns"],
        "samples_per_pixel": 1, "photometric_interpretation": request["photometric"],
        "bits_allocated": request["bits_allocated"], "bits_stored": request["bits_stored"],
        "pixel_representation": int(request["signed"]),
    }  # fmt: skip
    for name in names:
        try:
            pixels, _ = _hear(partial(decoder.as_array, wrapped, raw=True, decoding_plugin=name, **options))
        except MemoryError:
            raise
        except Exception as error:
            reason = reason or f"{name}: {error}"
        else:
            return np.asarray(pixels)
    raise ValueError(reason)


def _hear(work: Callable[[], Any]) -> Any:
    """What a decoder gives, unless it complains on the console; raises ValueError with the complaint."""
    heard, said = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(said, False)  # what a full pipe does not take is lost: a decoder never waits
    saved = os.dup(2)
    os.dup2(said, 2)
    try:
        found = work()
        with contextlib.suppress(BlockingIOError):
            for line in os.read(heard, 1 << 16).splitlines():
                if any(word in line for word in _COMPLAINTS) and _HARMLESS not in line:
                    raise ValueError(line.decode("ascii", "replace"))
    finally:
        os.dup2(saved, 2)
        for descriptor in (saved, heard, said):
            os.close(descriptor)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(decode_batch)
