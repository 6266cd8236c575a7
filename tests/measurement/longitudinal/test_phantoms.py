"""Five scans of known growth, rotation and shift: every lesion is followed, changes lie within the stated error."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from medseg.core.labels import LabelScheme
from medseg.core.results import Measurement, read_rows
from medseg.grids.registration import read_transform
from medseg.measurement.longitudinal import measure_timeline
from tests.measurement.longitudinal.phantom_patient import DAYS, DOUBLING_DAYS, GRIDS, LESIONS, MOTIONS, write_patient
from tests.phantoms import ball_volume_ml

LABELS = LabelScheme.make({"tumour": 1})


# How the scans come: moved on grids of their own, with images or masks alone; moved on one grid; brought onto one grid
# by somebody else before, as MS studies often are.
@pytest.fixture(scope="module", params=["images", "masks", "one grid", "one grid aligned"])
def followed(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    grids = GRIDS[:1] * 5 if request.param.startswith("one grid") else GRIDS
    motions = MOTIONS[:1] * 5 if request.param.endswith("aligned") else MOTIONS
    with_images = request.param in ("images", "one grid aligned")
    timeline = write_patient(folder, images=with_images, grids=grids, motions=motions)
    outcomes, _, _ = measure_timeline(timeline, folder / "out", labels=LABELS)
    assert {outcome.status for outcome in outcomes} == {"done"}
    with (folder / "out" / "longitudinal.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    content = json.loads((folder / "out" / "longitudinal.json").read_text())
    methods = [scan["placement"]["method"] for scan in content["patients"][0]["scans"]]
    if request.param.endswith("aligned"):
        assert methods == ["first_scan", *["same_grid"] * 4]
        assert not (folder / "out" / "transforms").exists()
    else:
        assert request.param not in ("images", "masks") or methods == ["first_scan", *[request.param] * 4]
    return rows, content, folder / "out"


def find(rows, lesion, first, last, quantity="volume_ml"):
    found = [
        row
        for row in rows
        if (row["lesion_id"], row["quantity"]) == (lesion, quantity)
        and (row["day_from"], row["day_to"]) == (str(DAYS[first]), str(DAYS[last]))
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_lesion_is_followed(followed):
    _, content, _ = followed
    (patient,) = content["patients"]
    seen = {lesion["lesion_id"]: [bool(scan["instances"]) for scan in lesion["scans"]] for lesion in patient["lesions"]}
    assert seen == {name: [radius > 0 for radius in radii] for name, (_, radii) in LESIONS.items()}
    merged = {lesion["lesion_id"]: [scan["one_with"] for scan in lesion["scans"]] for lesion in patient["lesions"]}
    assert merged["tumour-5"] == [[], [], ["tumour-6"], [], []]


def test_changes_lie_within_the_stated_error(followed):
    rows, content, _ = followed
    errors = {
        (lesion["lesion_id"], number): scan["counting_error_ml"]
        for lesion in content["patients"][0]["lesions"]
        for number, scan in enumerate(lesion["scans"])
    }
    checked = 0
    for name, (_, radii) in LESIONS.items():
        for last in range(1, 5):
            row = find(rows, name, last - 1, last)
            if row is None or row["change"] in ("merged", "split"):
                continue
            true = ball_volume_ml(radii[last]) - ball_volume_ml(radii[last - 1])
            # Three standard deviations of counting voxels, of both scans.
            allowed = 3 * math.hypot(errors[name, last - 1], errors[name, last])
            assert float(row["difference"]) == pytest.approx(true, abs=allowed)
            checked += 1
    assert checked >= 20


def test_changes_have_their_names(followed):
    rows, _, _ = followed

    def words(name):
        found = [find(rows, name, last - 1, last) for last in range(1, 5)]
        return [row["change"] if row else "" for row in found]

    assert words("tumour-1") == ["grown"] * 4
    assert words("tumour-2") == ["stable"] * 4
    assert words("tumour-3") == ["shrunk", "shrunk", "shrunk", "gone"]
    assert words("tumour-4") == ["gone", "", "new", "grown"]
    assert words("tumour-5") == words("tumour-6") == ["stable", "merged", "split", "stable"]
    assert words("tumour-7") == ["", "new", "grown", "grown"]


def test_doubling_time_of_the_growing_lesion(followed):
    rows, content, _ = followed
    lesion = content["patients"][0]["lesions"][0]
    row = find(rows, "tumour-1", 0, 4, "doubling_time_days")
    first, last = lesion["scans"][0], lesion["scans"][4]
    # By how much three standard deviations of both volumes move the growth rate.
    spread = 3 * math.hypot(*(scan["counting_error_ml"] / scan["volume_ml"] for scan in (first, last)))
    rate = math.log(2) / DOUBLING_DAYS
    allowed = DOUBLING_DAYS * (spread / DAYS[4]) / (rate - spread / DAYS[4])
    assert float(row["to"]) == pytest.approx(DOUBLING_DAYS, abs=allowed)


def test_transforms_of_registered_scans_are_saved_and_read_back(followed):
    _, content, folder = followed
    placements = [scan["placement"] for scan in content["patients"][0]["scans"]]
    assert placements[0]["method"] == "first_scan"
    registered = [number for number, placement in enumerate(placements) if placement["method"] in ("images", "masks")]
    assert sorted(path.name for path in (folder / "transforms").glob("*")) == [f"s{n}.tfm" for n in registered]
    for number in registered:
        found = read_transform(folder / "transforms" / f"s{number}.tfm")
        assert np.allclose(found, placements[number]["to_first_scan"], atol=1e-9)
    assert content["patients"][0]["warnings"] == []


def test_measurements_carry_the_same_ids(followed):
    _, content, folder = followed
    rows = read_rows(folder / "measurements.csv", Measurement)
    volumes = {(row.case, row.lesion_id): row.value for row in rows if row.quantity == "volume_ml" and row.instance}
    for lesion in content["patients"][0]["lesions"]:
        for number, scan in enumerate(lesion["scans"]):
            if scan["instances"] and not scan["one_with"]:
                assert volumes[f"s{number}", lesion["lesion_id"]] == pytest.approx(scan["volume_ml"])


def test_recist_arithmetic(followed):
    _, content, _ = followed
    recist = content["recist_arithmetic"]["anna"]
    assert [target["lesion_id"] for target in recist["targets"]] == ["tumour-1", "tumour-2"]
    sums = [scan["sum_of_diameters_mm"] for scan in recist["scans"]]
    true = [2 * (LESIONS["tumour-1"][1][n] + LESIONS["tumour-2"][1][n]) for n in range(5)]
    assert sums == pytest.approx(true, abs=6)  # two diameters, each within a voxel's diagonal
    assert recist["scans"][4]["category"] == "PD"
    assert "tumour-7" in recist["scans"][4]["new_lesions"]
    assert recist["cannot_know"]
