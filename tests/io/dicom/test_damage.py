"""One file of a series cut anywhere, or with one bit of its header flipped: refused, the same, or changed and said."""

from pathlib import Path

import pytest

from tests.corpus.damage import cut_files, flip_bits, pick_places
from tests.corpus.dicom_damage import HEADERS, PIXELS, UNKNOWABLE, judge_series, make_series
from tests.io.dicom_series import write

COUNT = 150


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize("modality", HEADERS)
def test_no_cut_goes_unnoticed(modality: str, index: int, tmp_path: Path) -> None:
    target = write(tmp_path, make_series(modality))[index]
    content = target.read_bytes()
    found, unnoticed = judge_series(tmp_path, target, cut_files(content, pick_places(len(content), COUNT, index)))
    assert unnoticed == []
    assert found["same"] == 0
    assert found["refused"] == COUNT if index == 2 else found["refused"] > 0, "an inner slice leaves a gap"


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize("modality", HEADERS)
def test_no_flipped_bit_goes_unnoticed(modality: str, index: int, tmp_path: Path) -> None:
    target = write(tmp_path, make_series(modality))[index]
    content = target.read_bytes()
    places = pick_places(content.rindex(PIXELS), COUNT, index)
    least_change = UNKNOWABLE if modality == "PT" else 0.0
    found, unnoticed = judge_series(tmp_path, target, flip_bits(content, places, index), least_change)
    assert unnoticed == []
    assert found["refused"] > COUNT // 5
