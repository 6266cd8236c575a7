"""Small CT-like scans with an organ and tumours, made anew for each test: a data set that trains in seconds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from medseg.core.geometry import Geometry
from tests.phantoms import ball, centre_of, lesions, oblique_geometry

LABELS = {"background": 0, "organ": 1, "tumour": 2}
# Case: patient and day; two patients come twice.
TRAINING = {
    **{"scan_1": ("P1", 0), "scan_2": ("P1", 30), "scan_3": ("P2", 0), "scan_4": ("P3", 0)},
    **{"scan_5": ("P4", 0), "scan_6": ("P4", 45), "scan_7": ("P5", 0), "scan_8": ("P6", 0)},
}
TEST = {"scan_9": ("P7", 0), "scan_10": ("P8", 0)}


def make_scan(seed: int, *, shape: tuple[int, int, int] = (32, 32, 16)) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """HU (int16), label map (uint8) and grid of one scan; every fourth has no tumour."""
    generator = np.random.default_rng(seed)
    geometry = oblique_geometry(shape, (2.0, 2.0, 4.0), tuple(generator.uniform(-6, 6, 3)))
    centre = centre_of(geometry)
    organ = ball(geometry, centre + generator.uniform(-3, 3, 3), generator.uniform(17, 21))
    places = [(centre + generator.uniform(-8, 8, 3), generator.uniform(5, 8)) for _ in range(seed % 4)]
    tumours = lesions(geometry, places) & organ
    hu = np.where(ball(geometry, centre, 29), 30.0, -1000.0)
    hu[organ], hu[tumours] = 130.0, 55.0
    mask = organ.astype(np.uint8)
    mask[tumours] = 2
    return (hu + generator.normal(0, 12, shape)).round().astype(np.int16), mask, geometry


def write_scan(image: Path, mask: Path, seed: int) -> None:
    """Write one scan as NIfTI."""
    hu, labels, geometry = make_scan(seed)
    for path, array in ((image, hu), (mask, labels)):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, geometry.affine), path)


def write_data_set(root: Path) -> Path:
    """Eight cases to train on and two to test with, as an nnU-Net raw folder with days in ``cases.csv``."""
    for part, cases in (("Tr", TRAINING), ("Ts", TEST)):
        for case in cases:
            seed = int(case.removeprefix("scan_"))
            write_scan(root / f"images{part}" / f"{case}_0000.nii.gz", root / f"labels{part}" / f"{case}.nii.gz", seed)
    content = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": len(TRAINING), "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content), "utf-8")
    with (root / "cases.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "patient", "day"])
        writer.writerows([case, *who] for case, who in (TRAINING | TEST).items())
    return root
