"""What is unusual about a scan to segment."""

from __future__ import annotations

from medseg.core.model import Familiar
from medseg.core.volume import Volume
from medseg.fingerprint.scan import thin_scan
from medseg.grids import find_box
from medseg.inference.familiarity.grids import find_unusual_grid
from medseg.inference.familiarity.intensities import find_unusual_intensities


def find_unfamiliar(volume: Volume, familiar: Familiar) -> list[str]:
    """What is unusual about a scan for a model, each with its value and what the training scans had.

    Args:
        volume: the scan, (channel, i, j, k), its channels in the model's order and with its names.
        familiar: what the model's training scans looked like.
    Returns:
        a sentence each for spacing, size, axes and each channel's intensities; empty where nothing lies far from the
        training scans. A part of the voxels is looked at: milliseconds for any scan.
    """
    sample, steps = thin_scan(volume.array)
    filled = (sample != 0).any(axis=0)
    start, stop = find_box(filled)
    pairs = zip(steps, volume.geometry.shape, strict=True)
    size = [min(length, (b - a) * step) for a, b, (step, length) in zip(start, stop, pairs, strict=True)]
    sentences = find_unusual_grid(volume.geometry, size, familiar)
    for name, channel, usual in zip(volume.channels, sample, familiar.channels, strict=False):
        sentences += find_unusual_intensities(channel, name, usual)
    return sentences
