"""Compressed frames: which bytes of which file make a frame, and decoding them in batches in a child that may die."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.compute.child import ChildError, Limits, ask_child
from medseg.compute.devices import count_cores
from medseg.core.errors import FormatError, show_name
from medseg.io.decoding import BYTES_PER_SECOND, EXTRA_MEMORY_BYTES, MEMORY_PER_BYTE, SECONDS
from medseg.io.dicom.bytes_window import REMEDY, open_window
from medseg.io.dicom.fragments import Fragment, list_fragments, split_frames
from medseg.io.dicom.headers import PixelFormat
from medseg.io.guard import check_regular

# RLE, JPEG (baseline, extended, lossless), JPEG-LS, JPEG 2000 and its high-throughput form.
COMPRESSED_SYNTAXES = tuple(
    "1.2.840.10008.1.2." + last
    for last in ("5", "4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.201", "4.202", "4.203")
)
# Those that may lose something; some files of the last two do not.
LOSSY_SYNTAXES = frozenset("1.2.840.10008.1.2.4." + last for last in ("50", "51", "81", "91", "203"))
# Names that pydicom's list lacks: of a private syntax that scanners have written, and of the standard's latest.
_NAMES = {
    "1.2.840.113619.5.2": "GE Private Implicit VR Big Endian Pixels",
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
SCRIPT = Path(__file__).with_name("pixel_child.py")
# A child's answer is copied once more; a batch of this size keeps asking cheap and memory small.
_BATCH_BYTES = 1 << 25
_REASONS = {"died": "its decoder crashed", "timeout": "its decoder was stopped", "memory": "its decoder was stopped"}


class Packed(NamedTuple):
    """A compressed frame.

    Args:
        slot: which frame of those asked for it is.
        path: its file.
        number: of the frame in the file, from 0 on.
        pixels: how the file keeps its pixels.
        fragments: the bytes that make the frame.
    """

    slot: int
    path: Path
    number: int
    pixels: PixelFormat
    fragments: list[Fragment]


def name_syntax(transfer_syntax_uid: str) -> str:
    """A transfer syntax for messages: its name where it has one, and its UID."""
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    shown = show_name(transfer_syntax_uid)[:64]
    name = _NAMES.get(transfer_syntax_uid) or UID(shown, IGNORE).name
    return shown if name == shown else f"{name} ({shown})"


def locate_frames(path: Path, pixels: PixelFormat, offset: int) -> list[list[Fragment]]:
    """The fragments of each frame of a file; raises FormatError where they are not those of its frames.

    Args:
        path: the file.
        pixels: how it keeps them.
        offset: byte at which the value of the pixel element begins.
    Returns:
        a list per frame.
    """
    with open_window(path, check_regular(path)) as window:
        return split_frames(window, list_fragments(window, offset)[0], pixels.frames)


def decode_frames(
    frames: Sequence[Packed], dtype_of: Callable[[PixelFormat], np.dtype[Any]],
    put: Callable[[Packed, NDArray[Any]], None],
) -> None:  # fmt: skip
    """Decode frames in children, some at a time and some at once.

    Args:
        frames: what to decode.
        dtype_of: the type that a format's stored values have.
        put: is given each frame with its values, (row, column); from several threads.
    Raises:
        FormatError: a frame is damaged, or its decoder died, took too long or wanted far too much memory.
    """

    def work(batch: Sequence[Packed]) -> None:
        dtype = dtype_of(batch[0].pixels)
        for frame, values in zip(batch, _decode_batch(batch, dtype), strict=True):
            put(frame, values)

    batches = list(_split_batches(frames, dtype_of))
    pool = ThreadPoolExecutor(max(1, min(count_cores(), len(batches))))
    try:
        for future in [pool.submit(work, batch) for batch in batches]:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _split_batches(
    frames: Sequence[Packed], dtype_of: Callable[[PixelFormat], np.dtype[Any]]
) -> Iterator[Sequence[Packed]]:
    batch: list[Packed] = []
    for frame in frames:
        size = frame.pixels.rows * frame.pixels.columns * dtype_of(frame.pixels).itemsize
        full = (len(batch) + 1) * size > _BATCH_BYTES
        if batch and (full or _ask_as(frame.pixels) != _ask_as(batch[0].pixels)):
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def _ask_as(pixels: PixelFormat) -> tuple[Any, ...]:
    """What the frames of one request share."""
    return (
        *(pixels.transfer_syntax_uid, pixels.rows, pixels.columns, pixels.photometric),
        *(pixels.bits_allocated, pixels.bits_stored, pixels.signed),
    )


def _decode_batch(batch: Sequence[Packed], dtype: np.dtype[Any]) -> NDArray[Any]:
    pixels = batch[0].pixels
    size = pixels.rows * pixels.columns * dtype.itemsize
    held = sum(fragment.size for frame in batch for fragment in frame.fragments)
    total = held + size * len(batch)
    request = {
        "frames": [(str(frame.path.absolute()), frame.fragments) for frame in batch], "dtype": dtype.name,
        "syntax": pixels.transfer_syntax_uid, "rows": pixels.rows, "columns": pixels.columns,
        "photometric": pixels.photometric or "MONOCHROME2", "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored, "signed": pixels.signed,
    }  # fmt: skip
    limits = Limits(SECONDS + total / BYTES_PER_SECOND, MEMORY_PER_BYTE * total + EXTRA_MEMORY_BYTES, size * len(batch))
    try:
        answer, raw = ask_child(SCRIPT, request, limits)
    except ChildError as error:
        if len(batch) > 1:  # one by one, so that the frame is named
            return np.concatenate([_decode_batch([frame], dtype) for frame in batch])
        reason = f"{_REASONS[error.code]}: {error.reason}"
        raise _refuse(batch[0], reason, f"decoder_{error.code}") from None
    if "reason" in answer:
        raise _refuse(batch[answer["frame"]], f"cannot be decoded: {answer['reason']}", "corrupt")
    if raw.size != size * len(batch):
        raise _refuse(batch[0], f"its decoder gave {raw.size} bytes, expected {size * len(batch)}", "corrupt")
    return raw.view(dtype).reshape(len(batch), pixels.rows, pixels.columns)


def _refuse(frame: Packed, reason: str, code: str) -> FormatError:
    place = f"frame {frame.number + 1}: " if frame.pixels.frames > 1 else ""
    return FormatError(place + reason, code=code, file=frame.path, remedy=REMEDY)
