"""Series that become the channels of a model, by rules and by names."""

from pathlib import Path

import numpy as np
import pytest

from medseg.core.errors import DatasetError
from medseg.io.dicom.channel_rules import ChannelRule, settle_rules
from medseg.io.dicom.scans import find_scans
from tests.io.dicom_series import CT, GRADIENT, PET, SLOPE, pile, write

CHANNELS = ("CT", "PET")
STORED = "PET: unit=stored"  # the test's PET series have no dose to work SUV out from


def write_study(folder: Path, number: int, *, frames: tuple[str, str] = ("1.2.3", "1.2.3"), pets: int = 1) -> None:
    """A CT and coarser PET series of one study, in the frames of reference that are given."""
    common = {"StudyInstanceUID": f"1.2.{number}"}
    ct = pile(12, shape=(12, 14), header={**common, "SOPClassUID": CT, "FrameOfReferenceUID": frames[0]})
    write(folder / "ct", [plane.but(SeriesInstanceUID=f"1.2.{number}.1") for plane in ct])
    for pet in range(pets):
        header = {**common, "SOPClassUID": PET, "Modality": "PT", "FrameOfReferenceUID": frames[1]}
        header |= {"SeriesInstanceUID": f"1.2.{number}.{2 + pet}", "SeriesNumber": 10 + pet, "Units": "BQML"}
        planes = pile(6, shape=(8, 8), spacing=(4.0, 4.0), step_mm=8.0, origin=(-15, -11, 15), header=header)
        write(folder / f"pet{pet}", [plane.but(SeriesDescription=f"PET {pet}") for plane in planes])


def test_a_study_s_series_become_channels_on_the_first_one_s_grid(tmp_path: Path) -> None:
    for number in (1, 2):
        write_study(tmp_path / f"p{number}", number)
    scans = find_scans(tmp_path, CHANNELS, rules=STORED)
    assert (len(scans.dataset.cases), scans.dataset.problems) == (2, ())
    case = scans.dataset.cases[0]
    assert [source.path.parent.name for source in case.images] == ["ct", "pet0"]
    assert len(scans.list_files(case.name)) == 12 + 6
    volume, source, notes = scans.read(case.name)
    assert (volume.channels, source.modality, source.geometry) == (CHANNELS, "CT", volume.geometry)
    index = np.stack(np.meshgrid(*map(np.arange, volume.geometry.shape), indexing="ij"), axis=-1)
    world_lps = volume.geometry.to_world(index) * (-1, -1, 1)
    expected = world_lps @ GRADIENT
    assert np.abs(volume.array[0] - expected).max() < SLOPE
    inside = np.zeros(volume.geometry.shape, bool)
    inside[2:-2, 2:-2, 1:-1] = True
    assert np.abs(volume.array[1] - expected)[inside].max() < 2 * SLOPE
    assert any("PET" in note and "brought onto the grid of CT" in note for note in notes)


def test_series_in_other_frames_of_reference_are_refused(tmp_path: Path) -> None:
    write_study(tmp_path, 1, frames=("1.2.3", "1.2.4"))
    (problem,) = find_scans(tmp_path, CHANNELS, rules=STORED).dataset.problems
    assert problem.code == "other_frame"
    assert "different frames of reference" in problem.reason


def test_a_channel_that_several_series_fit_is_asked_for(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=2)
    (problem,) = find_scans(tmp_path, CHANNELS, rules=STORED).dataset.problems
    assert problem.code == "ambiguous_series"
    assert "2 series of its study fit the channel PET, expected one: PT 10 PET 0, PT 11 PET 1" in problem.reason
    for rule in ("SeriesNumber=11", "SeriesDescription=*pet 1"):
        scans = find_scans(tmp_path, CHANNELS, rules=f"PET: Modality=PT, {rule}, unit=stored")
        (case,) = scans.dataset.cases
        assert scans.series[case.name][1].planes[0].series_number == 11


def test_a_study_without_a_channel_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=0)
    (problem,) = find_scans(tmp_path, CHANNELS).dataset.problems
    assert problem.code == "missing_channel"
    assert "0 series of its study fit the channel PET, expected one" in problem.reason


def test_one_series_is_not_two_channels(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=0)
    (problem,) = find_scans(tmp_path, ("first", "second")).dataset.problems
    assert problem.code == "ambiguous_series"


def test_rules_are_read_and_names_stand_in_for_them() -> None:
    assert settle_rules(["CT thorax", "pet_suv", "T1"]) == (
        ChannelRule("CT thorax", "CT"), ChannelRule("pet_suv", "PT", as_suv=True), ChannelRule("T1"),
    )  # fmt: skip
    text = "T1: Modality=MR, SeriesDescription=*t1*; PET: unit=stored"
    assert settle_rules(["T1", "PET"], text) == (
        ChannelRule("T1", "MR", "*t1*"), ChannelRule("PET", "PT", as_suv=False),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("MR: Modality=MR", "names no channel of the model"),
        ("CT", "names no channel of the model"),
        ("CT: Modality", "expected KEY=VALUE"),
        ("CT: Kernel=B30", "expected KEY=VALUE with Modality"),
        ("CT: SeriesNumber=two", "expected a number"),
        ("PET: unit=bqml", "expected SUVbw or stored"),
    ],
)
def test_rules_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        settle_rules(CHANNELS, text)
