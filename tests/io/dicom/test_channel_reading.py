"""Series of other frames of reference: registered and said, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import DatasetError, FormatError, GeometryError
from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.io.dicom.channel_reading import ScanReading, read_channels
from medseg.io.dicom.channel_rules import read_rules
from medseg.io.dicom.channel_transforms import read_transforms, write_transforms
from medseg.io.dicom.grouping import find_series
from medseg.io.dicom.series import DicomSeries
from tests.grids.registration.test_search import CENTRES, FIRST, MOVED, SECOND, draw, with_other_contrast
from tests.io.dicom.volume_files import write_volume_series
from tests.phantoms import motion

RULES = read_rules("CT: Modality=CT; T1: SeriesDescription=t1; T2: SeriesDescription=t2")
# Another frame of reference: the patient lies elsewhere, and its origin is nowhere near.
AWAY = motion((0, 0, 0), (300, -200, 700)) @ MOVED


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[DicomSeries, ...]:
    """A CT of a head, and two MR series of one other frame of reference in which it lies moved."""
    folder = tmp_path_factory.mktemp("study")
    write_volume_series(folder / "ct", draw(FIRST, np.eye(4), 0)[0], SeriesNumber=1, FrameOfReferenceUID="1.2.1")
    away = Geometry(SECOND.shape, AWAY @ np.linalg.inv(MOVED) @ SECOND.affine)
    head = draw(SECOND, MOVED, 1)[0]
    for number, (name, volume) in enumerate((("t1", head), ("t2", with_other_contrast(head))), 2):
        # Metal beyond what 16 bits hold is cut off, as scanners do.
        values = Volume(np.clip(volume.array, -3000, 3000), away, ("MR",))
        write_volume_series(
            folder / name, values, Modality="MR", SeriesNumber=number, SeriesDescription=name, RescaleType="US",
            FrameOfReferenceUID="1.2.2",
        )  # fmt: skip
    return tuple(sorted(find_series(folder).images, key=lambda series: series.planes[0].series_number or 0))


@pytest.fixture(scope="module")
def scan(study: tuple[DicomSeries, ...]) -> ScanReading:
    return read_channels(RULES, study, register="rigid")


def test_series_of_one_frame_are_moved_together_to_where_they_belong(scan: ScanReading) -> None:
    (transform,) = scan.transforms
    assert (transform.fixed, transform.moving) == ("CT", ("T1", "T2"))
    whole = np.array(transform.matrix) @ AWAY
    assert np.linalg.norm(CENTRES @ whole[:3, :3].T + whole[:3, 3] - CENTRES, axis=1).max() < 1.5
    assert scan.volume.channels == ("CT", "T1", "T2")
    # Drawn where the CT lies, the moved head shows the same values but for noise and rims.
    expected = draw(scan.volume.geometry, np.eye(4), 2)[0].array[0]
    assert np.median(np.abs(scan.volume.array[1] - expected)) < 8


def test_it_is_said(scan: ScanReading) -> None:
    (note,) = [note for note in scan.notes if "registered" in note]
    assert note.startswith("T1 and T2 registered to CT: moved by ")
    assert "no overlap before" in note
    assert "lower is better" in note


def test_transforms_are_kept_as_json_that_says_what_it_is(scan: ScanReading, tmp_path: Path) -> None:
    write_transforms(tmp_path / "case.transforms.json", scan.transforms)
    assert read_transforms(tmp_path / "case.transforms.json") == scan.transforms
    text = (tmp_path / "case.transforms.json").read_text()
    assert '"space": "RAS+, millimetres"' in text
    assert "a point of the moving channels" in text
    assert '"before": null' in text
    (tmp_path / "case.transforms.json").write_text(text.replace("RAS+", "LPS+"))
    with pytest.raises(FormatError, match="space"):
        read_transforms(tmp_path / "case.transforms.json")


def test_it_is_refused_unless_asked_for(study: tuple[DicomSeries, ...]) -> None:
    with pytest.raises(GeometryError, match="different frames of reference") as caught:
        read_channels(RULES, study)
    assert "--register rigid" in str(caught.value.remedy)
    with pytest.raises(DatasetError, match="expected refuse or rigid"):
        read_channels(RULES, study, register="affine")


def test_what_cannot_be_registered_is_refused_with_its_channel(study: tuple[DicomSeries, ...], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 300, (1, 40, 40, 30))
    geometry = Geometry.from_spacing((40, 40, 30), (4, 4, 4))
    write_volume_series(tmp_path / "pet", Volume(noise, geometry, ("PT",)), Modality="PT", FrameOfReferenceUID="1.9")
    rules = read_rules("CT: Modality=CT; PET: unit=stored")
    with pytest.raises(GeometryError, match="PET was not registered to CT") as caught:
        read_channels(rules, (study[0], *find_series(tmp_path / "pet").images), register="rigid")
    assert caught.value.code in ("untrusted_registration", "cannot_register")
    assert "pet" in str(caught.value.file)


def test_pet_without_suv_says_how_to_take_its_values(study: tuple[DicomSeries, ...], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(500, 100, (1, 8, 8, 6))
    volume = Volume(noise, Geometry.from_spacing((8, 8, 6), (4, 4, 4)), ("PT",))
    write_volume_series(tmp_path / "pet", volume, Modality="PT", Units="BQML", RescaleType="US")
    (series,) = find_series(tmp_path / "pet").images
    with pytest.raises(FormatError, match="no SUV") as caught:
        read_channels(read_rules("PET: Modality=PT"), [series])
    assert "--channels 'PET: Modality=PT, unit=stored'" in str(caught.value.remedy)
    assert read_channels(read_rules("PET: Modality=PT, unit=stored"), [series]).volume.array.max() > 500
