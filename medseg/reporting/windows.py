"""From intensities to the grey levels that a reader expects."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.core.volume import Volume
from medseg.shapes.boxes import Box

# The usual reading windows: abdomen level 40 width 400, lung level -600 width 1500 (HU).
_ABDOMEN_HU = (-160.0, 240.0)
_LUNG_HU = (-1350.0, 150.0)
# Where this share of the box around the labels is darker than this, the labels lie in the lungs: a nodule fills half of
# its own box at most (pi/6), while a liver's box holds a fifth of lung base at most.
_AIR_HU = -500.0
_AIR_SHARE = 0.35
_SAMPLES_PER_AXIS = 64


@dataclass(frozen=True)
class Window:
    """The intensities shown as black and as white, and the caption that says so."""

    low: float
    high: float
    text: str


def choose_window(volume: Volume, box: Box | None) -> Window:
    """The grey window for a scan's first channel.

    Args:
        volume: the scan.
        box: the box around all labels; None where there are none.
    Returns:
        for CT the abdomen window, or the lung window where the labels lie in air; else the 1st to 99th percentile.
    """
    image = volume.array[0]
    if re.match(r"ct(?![a-z])", volume.channels[0].strip().lower()):
        around = _sample(image[box] if box else image)
        in_lung = float((around < _AIR_HU).mean()) > _AIR_SHARE if box else False
        low, high = _LUNG_HU if in_lung else _ABDOMEN_HU
        return Window(low, high, f"{'lung' if in_lung else 'soft-tissue'} window {_show(low)} to {_show(high)} HU")
    sample = _sample(image)
    finite = sample[np.isfinite(sample)]
    low, high = (float(v) for v in np.percentile(finite, (1, 99))) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    return Window(low, high, f"{volume.channels[0]}, window {_show(low)} to {_show(high)}")


def to_grey(image: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """A slice as grey levels from 0 (the window's lower end and below, and what is not finite) to 255."""
    share = (np.asarray(image, dtype=np.float32) - window.low) / (window.high - window.low)
    return np.asarray(np.nan_to_num(np.clip(share, 0, 1), nan=0.0) * 255 + 0.5, dtype=np.uint8)


def _sample(image: NDArray[Any]) -> NDArray[np.float32]:
    steps = tuple(slice(None, None, max(1, n // _SAMPLES_PER_AXIS)) for n in image.shape)
    return np.asarray(image[steps], dtype=np.float32)


def _show(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
