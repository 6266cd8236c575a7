"""Series that become the channels of a model, by rules and by names."""

from pathlib import Path

import numpy as np

from medseg.core.channel_rules import ChannelRule
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
    scan = scans.read(case.name)
    volume, source, notes = scan.volume, scan.source, scan.notes
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
    assert "2 series of its study fit the channel PET (PET: Modality=PT, unit=stored), expected one" in problem.reason
    for number in (10, 11):
        listed = f"PT {number} PET {number - 10} (8x8x6 at 4x4x8 mm) is 'PET: Modality=PT, SeriesNumber={number},"
        assert f"{listed} unit=stored'" in problem.reason
    assert "--channels 'PET: Modality=PT, SeriesNumber=10, unit=stored'" in (problem.remedy or "")
    for rule in ("SeriesNumber=11", "SeriesDescription=*pet 1"):
        scans = find_scans(tmp_path, CHANNELS, rules=f"PET: Modality=PT, {rule}, unit=stored")
        (case,) = scans.dataset.cases
        assert scans.series[case.name][1].planes[0].series_number == 11


def test_series_that_nothing_tells_apart_are_listed_all_the_same(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=1)
    header = {"StudyInstanceUID": "1.2.1", "SOPClassUID": PET, "Modality": "PT", "FrameOfReferenceUID": "1.2.3"}
    header |= {"SeriesInstanceUID": "1.2.1.9", "SeriesNumber": 10}
    write(tmp_path / "copy", [plane.but(SeriesDescription="PET 0") for plane in pile(6, header=header)])
    (problem,) = find_scans(tmp_path, CHANNELS, rules=STORED).dataset.problems
    assert problem.code == "ambiguous_series"
    assert " is " not in problem.reason
    assert problem.remedy == "Leave the right one alone in the tree"


def test_every_series_is_taken_refused_or_left_with_a_reason(tmp_path: Path) -> None:
    for number, pets in ((1, 1), (2, 2)):
        write_study(tmp_path / f"p{number}", number, pets=pets)
    scans = find_scans(tmp_path, ["CT"])
    assert len(scans.dataset.cases) == 2
    assert sorted(series.name for series, _ in scans.left) == ["PT 10 PET 0", "PT 10 PET 0", "PT 11 PET 1"]
    assert {reason for _, reason in scans.left} == {"it fits no channel of the model"}


def test_of_several_series_those_that_the_model_was_trained_on_are_taken(tmp_path: Path) -> None:
    for number, pets in ((1, 2), (2, 1)):
        write_study(tmp_path / f"p{number}", number, pets=pets)
    known = [ChannelRule(channel="uptake", modality="PT", familiar=("pet 1",))]
    scans = find_scans(tmp_path, ["uptake"], known=known)
    # The second study has no such series: the one that fits otherwise is taken.
    assert sorted(series.name for (series,) in scans.series.values()) == ["PT 10 PET 0", "PT 11 PET 1"]
    reasons = {series.name: reason for series, reason in scans.left if series.modality == "PT"}
    assert reasons == {"PT 10 PET 0": "other series of its study bear descriptions that the model was trained on"}
    with_ct = [ChannelRule(channel="CT", modality="CT"), *known]
    first = next(iter(find_scans(tmp_path / "p1", ["CT", "uptake"], known=with_ct).series.values()))
    assert [series.name for series in first] == ["CT 3 thorax", "PT 11 PET 1"]


def test_a_study_without_a_channel_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=0)
    (problem,) = find_scans(tmp_path, CHANNELS).dataset.problems
    assert problem.code == "missing_channel"
    assert "0 series of its study fit the channel PET (PET: Modality=PT, unit=SUVbw), expected one" in problem.reason
    assert "there are: CT" in problem.reason


def test_one_series_is_not_two_channels(tmp_path: Path) -> None:
    write_study(tmp_path, 1, pets=0)
    (problem,) = find_scans(tmp_path, ("first", "second")).dataset.problems
    assert problem.code == "ambiguous_series"
