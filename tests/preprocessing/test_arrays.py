"""Arrays on disk: what is damaged is refused with one kind of error, whatever the library raises."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import FormatError
from medseg.preprocessing.arrays import open_array, read_array, write_array


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a.b2nd"
    write_array(file, np.random.default_rng(0).integers(0, 9, (2, 20, 40, 30)).astype(np.int16), 3)
    return file


def test_another_shape_is_refused(path: Path) -> None:
    assert open_array(path, (20, 40, 30)).shape == (2, 20, 40, 30)
    with pytest.raises(FormatError, match="expected \\(20, 40, 31\\)"):
        read_array(path, (slice(None),), (20, 40, 31))


def test_damage_raises_nothing_but_a_format_error(path: Path) -> None:
    good, rng = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for number in range(300):
        content = bytearray(good)
        # The header and the end hold what the library parses.
        place = (rng.integers(400), len(good) - 1 - rng.integers(300), rng.integers(len(good)))[number % 3]
        content[int(place)] = int(rng.integers(256))
        path.write_bytes(content)
        with contextlib.suppress(FormatError):
            read_array(path, (slice(None),) * 4, (20, 40, 30))
            refused -= 1
        refused += 1
    assert refused > 50
