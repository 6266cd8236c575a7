"""Rules by which series become channels: what they ask for, how they are written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.core.channel_rules import ChannelRule
from medseg.core.errors import DatasetError
from medseg.io.dicom.channel_rules import (
    fits,
    learn_descriptions,
    read_rules,
    settle_rules,
    tell_apart,
    tell_rule,
)
from medseg.io.dicom.headers import FrameHeader
from medseg.io.dicom.series import DicomSeries

CHANNELS = ("CT", "PET")


def make_series(modality: str, number: int | None, description: str, part: str = "") -> DicomSeries:
    plane = FrameHeader(
        path=Path("a.dcm"), number=0, sop_class_uid="", sop_instance_uid="", series_uid="1.2", study_uid="1.3",
        frame_of_reference_uid="", modality=modality, description=description, series_number=number,
        instance_number=None, pixels=None, place=None,
    )  # fmt: skip
    return DicomSeries("image", (plane,), part)


def test_names_stand_in_for_rules() -> None:
    names = ["CT thorax", "pet_suv", "PET2", "T1ce", "t2w", "FLAIR", "c0", "ARCTIC", "0000"]
    modalities = ["CT", "PT", "PT", "MR", "MR", "MR", "", "", ""]
    assert [(rule.channel, rule.modality) for rule in settle_rules(names)] == list(zip(names, modalities, strict=True))
    assert [rule.as_suv for rule in settle_rules(names)] == [modality == "PT" for modality in modalities]
    text = "T1: Modality=MR, SeriesDescription=*t1*, Part=echo 1*; PET: unit=stored"
    assert settle_rules(["T1", "PET"], text) == (
        ChannelRule(channel="T1", modality="MR", description="*t1*", part="echo 1*"),
        ChannelRule(channel="PET", modality="PT"),
    )


def test_a_model_s_rules_hold_where_the_user_states_none() -> None:
    known = (
        ChannelRule(channel="CT", modality="CT", description="*thorax*"),
        ChannelRule(channel="PET", modality="PT", familiar=("ac wholebody",)),
    )
    assert settle_rules(CHANNELS, known=known) == known
    assert settle_rules(CHANNELS, "PET: SeriesNumber=4", known=known) == (
        known[0], ChannelRule(channel="PET", number=4),
    )  # fmt: skip
    # A unit alone changes nothing else of the rule.
    assert settle_rules(CHANNELS, "PET: unit=SUVbw", known=known)[1] == known[1].model_copy(update={"as_suv": True})


def test_pet_becomes_suv_unless_the_model_or_the_user_says_otherwise() -> None:
    assert [rule.as_suv for rule in read_rules("a: Modality=pet; b: Modality=PT, unit=stored; c: Modality=CT")] == [
        True, False, False,
    ]  # fmt: skip
    known = [ChannelRule(channel="uptake", modality="PT")]
    assert not settle_rules(["uptake"], "uptake: Modality=PT, SeriesNumber=4", known=known)[0].as_suv


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("MR: Modality=MR", "names no channel of the model"),
        ("CT", "names no channel of the model"),
        ("CT: Modality", "expected KEY=VALUE"),
        ("CT: Kernel=B30", "expected KEY=VALUE with Modality"),
        ("CT: SeriesNumber=two", "expected a number"),
        ("CT: SeriesNumber=²", "expected a number"),
        ("CT: Modality=CT, Modality=MR", "Modality stands twice"),
        ("CT: Modality=CT; CT: SeriesNumber=4", "CT has two rules"),
        ("PET: unit=bqml", "expected SUVbw or stored"),
    ],
)
def test_rules_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        settle_rules(CHANNELS, text)
    assert "--channels" in str(caught.value.remedy)


def test_the_rules_of_a_data_set_name_its_channels() -> None:
    assert read_rules("T2: SeriesDescription=*t2*; CT; PET: unit=stored") == (
        ChannelRule(channel="T2", description="*t2*"),
        ChannelRule(channel="CT", modality="CT"),
        ChannelRule(channel="PET", modality="PT"),
    )
    for text in ("", " ; ", ": Modality=CT"):
        with pytest.raises(DatasetError, match="names no channel"):
            read_rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "CT: Modality=CT",
        "T1: Modality=MR, SeriesDescription=*t1*, SeriesNumber=0, Part=echo 1 of 2",
        "PET: Modality=PT, unit=SUVbw",
        "PET: Modality=PT, SeriesNumber=12, unit=stored",
    ],
)
def test_what_is_told_is_what_is_read(text: str) -> None:
    assert "; ".join(map(tell_rule, read_rules(text))) == text


def test_a_rule_takes_what_it_says() -> None:
    series = make_series("MR", 5, "Ax T1 [fat: sat]", "echo 1 of 2")
    for text in ("T1: Modality=mr", "T1: SeriesDescription=ax t1*", "T1: SeriesNumber=5, Part=ECHO 1*"):
        assert fits(read_rules(text)[0], series)
    for text in ("T1: Modality=CT", "T1: SeriesDescription=t1", "T1: SeriesNumber=6", "T1: Part=echo 2*"):
        assert not fits(read_rules(text)[0], series)


def test_series_are_told_apart_by_number_description_or_part() -> None:
    rule = ChannelRule(channel="MR", modality="MR")
    numbered = [make_series("MR", 4, "t1"), make_series("MR", 5, "t1")]
    assert tell_apart(rule, numbered[1], numbered) == "MR: Modality=MR, SeriesNumber=5"
    described = [make_series("MR", None, "t1, fat: [sat]; *"), make_series("MR", None, "t1")]
    told = tell_apart(rule, described[0], described)
    assert told == "MR: Modality=MR, SeriesDescription=t1? fat? ?sat?? ?"
    assert [fits(read_rules(told)[0], series) for series in described] == [True, False]
    parts = [make_series("MR", 4, "dixon", f"echo {echo} of 2") for echo in (1, 2)]
    assert tell_apart(rule, parts[0], parts) == "MR: Modality=MR, SeriesNumber=4, Part=echo 1 of 2"
    equal = [make_series("MR", 4, "t1"), make_series("MR", 4, "t1")]
    assert tell_apart(rule, equal[0], equal) == ""


def test_descriptions_that_one_patient_alone_bears_are_not_kept() -> None:
    rule = ChannelRule(channel="CT", modality="CT")
    taken = [
        ("p001", make_series("CT", 1, "Thorax B30f")), ("p002", make_series("CT", 1, "THORAX B30F ")),
        ("p002", make_series("CT", 1, "Abdomen")), ("p003", make_series("CT", 1, "Abdomen")),
        ("p003", make_series("CT", 1, "Thorax B30f")), ("p004", make_series("CT", 1, "Mr Miller's knee")),
        ("p004", make_series("CT", 2, "Mr Miller's knee")), ("p005", make_series("CT", 1, "")),
    ]  # fmt: skip
    assert learn_descriptions(rule, taken).familiar == ("thorax b30f", "abdomen")
