"""Masks and images that no single file holds as a grid of voxels, such as contours on a DICOM series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume

# Reads an image; gives what is doubtful about it too, a line each.
LoadImage = Callable[[], tuple[Volume, tuple[str, ...]]]


class MaskDrawing(Protocol):
    """What makes a label map of structures or segments."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the structures are called that can be drawn."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it comes from."""

    @property
    def patient(self) -> str:
        """Whom it belongs to, by a number that names nobody; empty where nothing tells."""

    @property
    def day(self) -> int | None:
        """Days since that patient's first scan; None where nothing tells."""

    def draw(self, labels: LabelScheme | None, like: Geometry | None) -> tuple[Segmentation, tuple[str, ...]]:
        """The label map, and what was decided or is doubtful, a line each.

        Args:
            labels: which structure has which value, by its name; each its own where None.
            like: a grid that it may be asked to lie on; it may lie on its own all the same.
        Returns:
            the label map and the lines.
        Raises:
            MedsegError: it cannot be drawn.
        """
