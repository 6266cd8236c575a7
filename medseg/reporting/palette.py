"""Colours that colour-blind readers can tell apart, the same in pictures and charts."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito, "Color Universal Design" (2008), without black and without the yellow kept for diameters; in an
# order whose neighbours differ in lightness too. The first row is for dark images, the second, darker, for white paper.
ON_IMAGE = ("#e69f00", "#56b4e9", "#00b98a", "#cc79a7", "#ff6a1a", "#4a8fe7")
ON_PAPER = ("#b97f00", "#2a8fd0", "#007f5f", "#b0578a", "#c44e00", "#0a5a9c")
REFERENCE = "#ffffff"
DIAMETER = "#f0e442"


def colour_on_image(names: Sequence[str], name: str) -> str:
    """The colour of a label's contour on an image."""
    return ON_IMAGE[names.index(name) % len(ON_IMAGE)]


def colour_number(names: Sequence[str], name: str) -> int:
    """Which colour of the palette a label has in charts, counted from 0; 0 for an unknown name."""
    return names.index(name) % len(ON_PAPER) if name in names else 0
