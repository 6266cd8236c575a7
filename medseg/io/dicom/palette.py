"""The colours that viewers are advised to show segments in."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design" (2008), without black, then colours of Tol, "Colour Schemes" (SRON/EPS/TN/09-
# 002, 2021, "muted"): told apart by colour-blind readers too, and bright enough for a dark scan.
_COLOURS = (
    *((230, 159, 0), (86, 180, 233), (0, 185, 138), (204, 121, 167), (255, 106, 26), (74, 143, 231)),
    *((240, 228, 66), (136, 204, 238), (68, 170, 153), (170, 68, 153), (221, 204, 119), (204, 102, 119)),
)


def find_colour(number: int) -> tuple[int, int, int]:
    """The colour of a data set's label, red, green and blue from 0 to 255.

    Args:
        number: of the label, counted from 0, so that it has one colour in all scans; after the last colour they come
            again.
    Returns:
        red, green, blue.
    """
    return _COLOURS[number % len(_COLOURS)]
