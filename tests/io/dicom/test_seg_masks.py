"""DICOM SEG where masks are asked for: measured and scored like files of label maps."""

from pathlib import Path

import numpy as np
import pytest

from medseg import pipeline
from medseg.core.results import Measurement, Score, read_rows
from medseg.core.volume import Segmentation
from medseg.io.dicom.seg_write import write_seg
from medseg.io.masks import find_masks, read_segmentation
from medseg.io.write import write_segmentation
from tests.io.dicom.small_series import LABELS, make_geometry, make_mask, write_series


def write_masks(folder: Path) -> Segmentation:
    source = write_series(folder / "series", make_geometry())
    mask = make_mask(source.geometry)
    write_seg(folder / "segs" / "case_1.seg.dcm", mask, LABELS, source)
    few = Segmentation(np.where(mask.array == 1, mask.array, 0).astype(np.uint8), mask.geometry)
    write_seg(folder / "segs" / "case_2.dcm", few, LABELS, source)
    (folder / "segs" / "case_1.sr.dcm").write_bytes(b"a report beside it")
    for name, one in (("case_1", mask), ("case_2", few)):
        write_segmentation(folder / "maps" / f"{name}.nii.gz", one)
    return mask


def test_segs_are_found_and_read_as_label_maps(tmp_path: Path) -> None:
    mask = write_masks(tmp_path)
    found = find_masks(tmp_path / "segs")
    assert list(found) == ["case_1", "case_2"]
    assert find_masks(tmp_path / "segs" / "case_1.seg.dcm").keys() == {"case_1"}
    read = read_segmentation(found["case_1"], labels=LABELS, like=mask.geometry)
    assert np.array_equal(read.array, mask.array)


def test_scores_and_volumes_are_those_of_label_maps(tmp_path: Path) -> None:
    write_masks(tmp_path)
    scheme = dict(LABELS.labels)
    result = pipeline.evaluate(tmp_path / "segs", tmp_path / "maps", tmp_path / "scores", labels=LABELS)
    assert [outcome.status for outcome in result.outcomes] == ["done", "done"]
    rows = [
        row for row in read_rows(tmp_path / "scores" / "scores.csv", Score) if (row.metric, row.instance) == ("dice", 0)
    ]
    assert [row.value for row in rows] == [1.0, 1.0, 1.0, 1.0, None, None]
    tables = []
    for name in ("segs", "maps"):
        pipeline.measure(tmp_path / name, tmp_path / f"measured_{name}", labels=LABELS)
        table = read_rows(tmp_path / f"measured_{name}" / "measurements.csv", Measurement)
        tables.append(
            {(row.case, row.label): row.value for row in table if (row.quantity, row.instance) == ("volume_ml", 0)}
        )
    assert len(tables[0]) == 2 * len(scheme)
    assert tables[0] == pytest.approx(tables[1], rel=1e-6)  # NIfTI keeps spacing in float32
