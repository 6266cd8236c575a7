"""One file of a CT series cut anywhere, or with one bit of its header flipped: refused, the same, or changed and said.

Of MR and PET a slice's own scale is usual, so that a flipped bit in one cannot be told from it.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import MedsegError
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.read import read_series
from tests.io.dicom_series import pile, write

COUNT = 500
PIXELS = b"\xe0\x7f\x10\x00"


@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_no_damage_goes_unnoticed(kind: str, tmp_path: Path) -> None:
    target = write(tmp_path / "series", pile(6))[2]
    content, generator = target.read_bytes(), np.random.default_rng(0)
    (series,) = find_series(tmp_path / "series").images
    whole, _, _ = read_series(series)
    found: Counter[str] = Counter()
    for _ in range(COUNT):
        damaged = bytearray(content)
        if kind == "cut":
            del damaged[int(generator.integers(len(content) - 1)) :]
        else:
            damaged[int(generator.integers(content.rindex(PIXELS)))] ^= 1 << int(generator.integers(8))
        target.write_bytes(damaged)
        images = find_series(tmp_path / "series").images
        try:
            volume, _, notes = read_series(images[0])
        except MedsegError:
            found["refused"] += 1
            continue
        same = np.array_equal(volume.array, whole.array) and volume.geometry.same_grid(whole.geometry)
        found["same" if same else "said" if notes or len(images) > 1 else "unnoticed"] += 1
    assert found["unnoticed"] == 0, found
    assert found["refused"] == COUNT if kind == "cut" else found["refused"] > COUNT // 4, found
