"""Folders of masks with images and probabilities: what is written, and what is named as wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medseg.core.errors import FormatError
from medseg.core.labels import LabelScheme
from medseg.core.manifest import hash_file
from medseg.core.results import Measurement, read_rows
from medseg.core.volume import Volume
from medseg.io import write_segmentation, write_volume
from medseg.measurement.folders import measure_folder
from medseg.reporting.folders import report_folder
from tests.phantoms import ball, ball_volume_ml, centre_of, oblique_geometry, partial_volume_ball, segmentation_of

LABELS = LabelScheme.make({"organ": 1, "hot/spot": 2})
GEOMETRY = oblique_geometry((40, 36, 24), (1, 1.1, 2))
RADIUS_MM = 7


@pytest.fixture
def folder(tmp_path):
    spot = partial_volume_ball(GEOMETRY, centre_of(GEOMETRY), RADIUS_MM)
    organ = ball(GEOMETRY, centre_of(GEOMETRY), 14)
    for case in ("a", "b"):
        write_segmentation(tmp_path / "masks" / f"{case}.nii.gz", segmentation_of(GEOMETRY, organ, spot >= 0.5))
        for channel, array in enumerate((np.where(organ, 40, -1000), np.where(spot >= 0.5, 9.5, 1.25))):
            path = tmp_path / "imagesTr" / f"{case}_{channel:04d}.nii.gz"
            write_volume(path, Volume(array[None].astype(np.float32), GEOMETRY, ("x",)))
        for name, share in (("background", 1 - organ), ("organ", organ - spot), ("hot_spot", spot)):
            path = tmp_path / "masks" / "probabilities" / case / f"{name}.nii.gz"
            write_volume(path, Volume(share[None].astype(np.float32), GEOMETRY, (name,)))
    return tmp_path


def measure(folder, **options):
    outcomes, rows = measure_folder(folder / "masks", folder / "out", labels=LABELS, **options)
    assert read_rows(folder / "out" / "measurements.csv", Measurement) == rows
    return outcomes, rows


def pick(rows, quantity, definition="", label="hot/spot", instance=1):
    (row,) = [row for row in rows if (row.case, row.label, row.instance, row.quantity) ==
              ("a", label, instance, quantity) and row.definition.startswith(definition)]  # fmt: skip
    return row


def test_probabilities_that_predict_saved(folder):
    outcomes, rows = measure(folder, probabilities=folder / "masks")
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert pick(rows, "volume_partial_ml").value == pytest.approx(ball_volume_ml(RADIUS_MM), rel=0.01)
    assert pick(rows, "volume_partial_ml", instance=0).value == pick(rows, "volume_partial_ml").value
    assert measure(folder, probabilities=folder / "masks" / "probabilities")[1] == rows


def test_a_case_without_probabilities_is_named_and_the_others_measured(folder):
    (folder / "masks" / "probabilities" / "a" / "hot_spot.nii.gz").unlink()
    outcomes, rows = measure(folder, probabilities=folder / "masks")
    found = {outcome.case: (outcome.status, outcome.code) for outcome in outcomes}
    assert found == {"a": ("refused", "no_probabilities"), "b": ("done", "")}
    assert {row.case for row in rows} == {"b"}
    with pytest.raises(FormatError, match="no such folder"):
        measure(folder, probabilities=folder / "nowhere")


def test_units_by_the_names_of_channels(folder):
    _, unnamed = measure(folder, images=folder / "imagesTr")
    assert pick(unnamed, "mean_intensity", "channel_1").unit == ""
    assert not [row for row in unnamed if row.quantity.startswith("suv")]
    _, rows = measure(folder, images=folder / "imagesTr", channels=["CT", "PET"])
    assert pick(rows, "median_intensity", "CT", "organ").unit == "HU"
    assert pick(rows, "suv_max").value == 9.5
    content = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "organ": 1}}
    (folder / "dataset.json").write_text(json.dumps(content))
    assert measure(folder, images=folder / "imagesTr")[1] == rows
    (folder / "dataset.json").write_text(json.dumps(content | {"channel_names": {"0": "CT"}}))
    assert measure(folder, images=folder / "imagesTr")[1] == unnamed


def test_json_twin_tells_what_was_read(folder):
    measure(folder)
    inputs = json.loads((folder / "out" / "measurements.json").read_text())["inputs"]
    assert {case: list(files) for case, files in inputs.items()} == {"a": ["mask"], "b": ["mask"]}
    measure(folder, images=folder / "imagesTr", probabilities=folder / "masks")
    inputs = json.loads((folder / "out" / "measurements.json").read_text())["inputs"]
    assert inputs["a"]["images"] == [hash_file(folder / "imagesTr" / f"a_000{channel}.nii.gz") for channel in (0, 1)]
    assert list(inputs["b"]["probabilities"]) == ["background.nii.gz", "hot_spot.nii.gz", "organ.nii.gz"]


def test_where_lesions_lie_and_diameters_run(folder):
    _, rows = measure(folder)
    (place,) = [json.loads((folder / "out" / "measurements.json").read_text())["diameters"]["a"]["hot/spot-1"]]
    for quantity, key in (
        ("diameter_axial_mm", "ends"),
        ("diameter_perpendicular_mm", "perpendicular_ends"),
        ("diameter_3d_mm", "longest_ends"),
    ):
        index, world = np.array(place[f"{key}_index"]), np.array(place[f"{key}_mm"])
        assert GEOMETRY.to_world(index) == pytest.approx(world, abs=1e-4)
        assert np.linalg.norm(world[1] - world[0]) == pytest.approx(pick(rows, quantity).value)
    inside = np.argwhere(partial_volume_ball(GEOMETRY, centre_of(GEOMETRY), RADIUS_MM) >= 0.5)
    assert place["box_index"] == [inside.min(axis=0).tolist(), inside.max(axis=0).tolist()]


def test_report_draws_what_was_measured(folder):
    measure(folder, images=folder / "imagesTr", channels=["CT", "PET"], probabilities=folder / "masks")
    _, page = report_folder(folder / "out")
    assert "hot/spot" in page.read_text("utf-8")
