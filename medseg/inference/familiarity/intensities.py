"""What is unusual about a channel's intensities: their scale, their unit, their modality."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from medseg.core.fingerprint import ScanIntensities
from medseg.core.model import FamiliarChannel
from medseg.fingerprint.modality import infer_modality
from medseg.fingerprint.scan import describe_scan
from medseg.inference.familiarity.grids import lies_far, name_span
from medseg.planning.normalisation import find_scheme

# MR of one sequence varies by a few times between scanners; a change of unit or a rescaling to 0..1 is far beyond.
FACTOR_WIDTH = 4.0
# Where only labelled voxels are known: nothing in a scan of the same kind is that much brighter than all of them.
FACTOR_BRIGHTER = 10.0
LARGEST_HU = 4096.0  # 12 bits with an offset of -1024, and room for wider ranges


def find_unusual_intensities(channel: NDArray[Any], name: str, familiar: FamiliarChannel) -> list[str]:
    """Sentences about intensities that lie far from those of the training scans.

    Args:
        channel: the scan's intensities, (i, j, k), in the file's unit; a part of its voxels will do.
        name: the channel's, by which CT is known.
        familiar: the training scans' intensities.
    Returns:
        at most one sentence; empty where nothing is unusual.
    """
    (found,) = describe_scan(channel[None])
    if found is None:
        return [f"Channel {name} is 0 everywhere."]
    sentence = _check_modality(channel, name, familiar) or (
        _compare_scans(found, familiar) if familiar.width is not None else _compare_labelled(found, name, familiar)
    )
    return [f"Unusual intensities in channel {name}: {sentence}."] if sentence else []


def _check_modality(channel: NDArray[Any], name: str, familiar: FamiliarChannel) -> str:
    if find_scheme(name) == "ct":
        if familiar.foreground.low >= 0 or channel.min() < 0:
            return ""
        return (
            f"none is below 0, in training the labelled voxels alone reach from {name_span(familiar.foreground)} HU; "
            "this may be no CT, or CT without its offset of -1024"
        )
    if familiar.extremes.low < 0:
        return ""
    seen = infer_modality(channel)
    if seen.name != "CT":
        return ""
    usual = name_span(familiar.extremes)
    return f"this looks like CT ({seen.evidence.rstrip('.')}); in training the labelled voxels were {usual}"


def _compare_scans(found: ScanIntensities, familiar: FamiliarChannel) -> str:
    assert familiar.width is not None
    width = found.percentile_99_5 - found.percentile_00_5
    if lies_far(width, familiar.width, FACTOR_WIDTH):
        return f"{_name_range(found)}, a width of {width:.4g}; in training the width was {name_span(familiar.width)}"
    level = familiar.level
    if level is not None and not level.low - familiar.width.high <= found.median <= level.high + familiar.width.high:
        return f"the median is {found.median:.4g}; in training it was {name_span(level)}"
    return ""


def _compare_labelled(found: ScanIntensities, name: str, familiar: FamiliarChannel) -> str:
    low, high, usual = found.percentile_00_5, found.percentile_99_5, familiar.foreground
    largest = FACTOR_BRIGHTER * max(abs(familiar.extremes.low), abs(familiar.extremes.high))
    # Padding below air says nothing about a CT's scale.
    beyond = high > max(largest, LARGEST_HU) if find_scheme(name) == "ct" else max(-low, high) > largest
    if high < usual.low or low > usual.high or beyond:
        return f"{_name_range(found)}; in training the labelled voxels were {name_span(usual)}"
    return ""


def _name_range(found: ScanIntensities) -> str:
    return f"99 % of what is not zero lies from {found.percentile_00_5:.4g} to {found.percentile_99_5:.4g}"
