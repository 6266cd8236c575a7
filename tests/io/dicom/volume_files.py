"""Any volume of whole numbers as the files of a DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medseg.core.volume import Volume
from medseg.io.dicom.uids import derive_uid
from tests.io.dicom_series import Plane, write

LPS = np.array([-1.0, -1.0, 1.0])


def write_volume_series(folder: Path, volume: Volume, **header: Any) -> None:
    """Write a volume of one channel as a CT series, a file a plane; ``header`` changes attributes.

    Values are rounded to whole numbers, k runs from file to file.
    """
    array = np.rint(volume.array[0]).astype("<i2")
    columns, rows, count = volume.geometry.shape
    steps = (volume.geometry.affine[:3, :3] * LPS[:, None]).T
    lengths = np.linalg.norm(steps, axis=1)
    series = header.setdefault("SeriesInstanceUID", derive_uid("volume", str(folder)))
    planes = []
    for k in range(count):
        position = volume.geometry.to_world([0, 0, k]) * LPS
        own = {
            "PixelData": array[:, :, k].T.tobytes(), "RescaleSlope": 1, "SliceThickness": lengths[2],
            "SOPInstanceUID": derive_uid(series, str(k)),
        }  # fmt: skip
        spacing = (float(lengths[1]), float(lengths[0]))
        axes = np.stack([*(steps[:2] / lengths[:2, None]), np.cross(steps[0], steps[1]) / (lengths[0] * lengths[1])])
        planes.append(Plane(position, axes, (rows, columns), spacing, {**own, **header}))
    write(folder, planes)
