"""A patient with five scans whose lesions grow, shrink, come, go, merge and split as is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.volume import Segmentation, Volume
from medseg.io import write_segmentation, write_volume
from tests.phantoms import head_image, lesions, motion, oblique_geometry, still_geometry

DAYS = (0, 60, 120, 200, 300)
DOUBLING_DAYS = 150.0
# Centre in the head at rest, and the radius in each scan; 0 where the lesion is absent. The first one's volume doubles
# every DOUBLING_DAYS.
LESIONS: dict[str, tuple[tuple[float, float, float], tuple[float, ...]]] = {
    "tumour-1": ((26, 22, -8), tuple(8.0 * 2 ** (day / DOUBLING_DAYS / 3) for day in DAYS)),
    "tumour-2": ((-30, 16, 14), (7.0, 7.0, 7.0, 7.0, 7.0)),
    "tumour-3": ((-14, -40, -4), (6.5, 5.5, 4.5, 3.5, 0.0)),
    "tumour-4": ((8, 40, 22), (5.5, 0.0, 0.0, 5.5, 6.5)),
    "tumour-5": ((32, -24, 12), (5.0, 5.0, 7.5, 5.0, 5.0)),  # merges with the next one in the third scan
    "tumour-6": ((32, -24, 25), (4.5, 4.5, 7.0, 4.5, 4.5)),
    "tumour-7": ((-34, -18, -16), (0.0, 0.0, 4.5, 5.5, 6.5)),
}
MOTIONS = (
    motion((0, 0, 0), (0, 0, 0)),
    motion((6, -4, 9), (8, -6, 5)),
    motion((-7, 5, -12), (-10, 4, -6)),
    motion((3, 8, 15), (5, 12, 3)),
    motion((-5, -6, 20), (-6, -9, 10)),
)
GRIDS = tuple(
    oblique_geometry(shape, spacing, angles, (2 * n, -3 * n, n))
    for n, (shape, spacing, angles) in enumerate(
        (
            ((70, 84, 44), (1.8, 1.8, 2.6), (0, 0, 0)),
            ((76, 88, 48), (1.7, 1.7, 2.5), (4, 0, -3)),
            ((66, 80, 60), (2.0, 2.0, 2.0), (0, 6, 0)),
            ((72, 76, 40), (1.8, 2.0, 3.0), (-3, 2, 5)),
            ((70, 84, 44), (1.8, 1.8, 2.6), (0, 0, 8)),
        )
    )
)


def draw_mask(scan: int, geometry: Geometry, moved: np.ndarray) -> np.ndarray:
    """The lesions of a scan on a grid, moved with the patient."""
    spots = [(centre, radii[scan]) for centre, radii in LESIONS.values() if radii[scan] > 0]
    return lesions(still_geometry(geometry, moved), spots)


def write_patient(
    folder: Path, *, images: bool, grids: tuple[Geometry, ...] = GRIDS, motions: tuple[np.ndarray, ...] = MOTIONS
) -> Path:
    """Write masks, images and the timeline of the patient; returns the timeline."""
    lines = ["case,patient,day,mask,image"]
    for scan, (day, geometry) in enumerate(zip(DAYS, grids, strict=True)):
        mask = draw_mask(scan, geometry, motions[scan])
        write_segmentation(folder / f"m{scan}.nii.gz", Segmentation(mask.astype(np.uint8), geometry))
        if images:
            image = head_image(still_geometry(geometry, motions[scan]), mask, scan)
            write_volume(folder / f"i{scan}.nii.gz", Volume(image[None], geometry, ("MR",)))
        lines.append(f"s{scan},anna,{day},m{scan}.nii.gz,{f'i{scan}.nii.gz' if images else ''}")
    path = folder / "timeline.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
