"""Records are strict on reading and come back as they were written."""

import json
from pathlib import Path

import pydantic
import pytest

from medseg.core.errors import FormatError, PlanError
from medseg.core.labels import LabelScheme
from medseg.core.plan import Configuration, NetworkPlan, NormalisationPlan, Plan, TrainingPlan
from medseg.core.records import read_json, write_json

NETWORK = NetworkPlan(
    features=(8, 16),
    strides=((1, 1, 1), (1, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3)),
    convolutions=(2, 2),
    decoder_convolutions=(2,),
)
CONFIGURATION = Configuration(
    name="3d_fullres",
    dimensions=3,
    spacing_mm=(None, 0.7, 0.7),
    median_shape=(40, 200, 210),
    patch_size=(16, 64, 64),
    batch_size=2,
    batch_dice=False,
    normalisation=(NormalisationPlan(scheme="ct", mean=80.5, sd=40.0, low=-120, high=240),),
    network=NETWORK,
    training=TrainingPlan(),
    memory_gb=7.5,
)
PLAN = Plan(
    dataset="Leber — é",
    preset="nnunet",
    target="GPU with 8 GB",
    channels=("CT",),
    labels=LabelScheme.make({"liver": 1, "tumour": 2}),
    axis_order=(2, 0, 1),
    configurations={"3d_fullres": CONFIGURATION},
    reasons={"axis_order": "the slices are thickest along k"},
)


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plan.json"
    PLAN.write(path)
    assert Plan.read(path) == PLAN
    assert path.read_text("utf-8").endswith("}\n")


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "a.json")
    Plan.read(tmp_path / "a.json").write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_every_fault_is_listed_with_its_path(tmp_path: Path) -> None:
    content = json.loads(PLAN.to_json())
    content["colour"] = "blue"
    del content["target"]
    content["configurations"]["3d_fullres"]["batch_size"] = "many"
    content["configurations"]["3d_fullres"]["normalisation"][0]["scheme"] = "magic"
    path = tmp_path / "plan.json"
    write_json(path, content)
    with pytest.raises(FormatError) as caught:
        Plan.read(path)
    message = str(caught.value)
    assert caught.value.code == "bad_record"
    assert caught.value.file == str(path)
    for part in (
        "colour: ",
        "target: ",
        "configurations.3d_fullres.batch_size: ",
        "configurations.3d_fullres.normalisation.0.scheme: ",
    ):
        assert part in message
    assert "found 'many'" in message
    assert "found 'magic'" in message
    assert "\n" not in message


def test_a_fault_that_entries_of_a_list_share_is_said_once() -> None:
    content = json.loads(PLAN.to_json())
    content["configurations"]["3d_fullres"]["patch_size"] = [0, -8, -9]
    content["configurations"]["3d_fullres"]["network"]["features"] = ["x" * 1000] * 50
    with pytest.raises(FormatError) as caught:
        Plan.parse(content)
    patch, features = caught.value.reason.split("; ")
    where = "configurations.3d_fullres"
    assert patch == (
        f"{where}.patch_size.0, {where}.patch_size.1, {where}.patch_size.2: "
        "Input should be greater than or equal to 1, found 0, -8, -9"
    )
    assert "network.features.2 and 47 more: " in features
    assert features.count("Input should be") == 1
    assert len(features) < 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": [8]}, r"network: strides has 2 entries, expected 1 for 1 stages"),
        ({"decoder_convolutions": []}, "decoder_convolutions has 0 entries, expected 1 for 2 stages"),
        ({"kernels": [[1, 3, 3], [3, 3]]}, r"strides and kernels have \[2, 3\] axes"),
        ({"features": [], "strides": [], "kernels": [], "convolutions": []}, "entries, expected -1"),
        ({"strides": [[1, 1, 1], [0, 2, 2]]}, "strides.1.0: .*found 0"),
        ({"features": [8, -16]}, "features.1: .*found -16"),
    ],
)
def test_stages_that_do_not_fit_one_another_are_refused(change: dict[str, object], said: str) -> None:
    content = json.loads(PLAN.to_json())
    content["configurations"]["3d_fullres"]["network"].update(change)
    with pytest.raises(FormatError, match=said):
        Plan.parse(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dimensions": 2}, "kernels have 3 axes, expected 2"),
        ({"dimensions": 2, "network": "flat"}, "a patch of 16 slices, expected 1"),
    ],
)
def test_a_network_of_other_axes_is_refused(change: dict[str, object], said: str) -> None:
    content = json.loads(PLAN.to_json())
    entry = content["configurations"]["3d_fullres"]
    flat = {**entry["network"], "strides": [[1, 1], [2, 2]], "kernels": [[3, 3], [3, 3]]}
    entry.update({**change, "network": flat if "network" in change else entry["network"]})
    with pytest.raises(FormatError, match=said):
        Plan.parse(content)


def test_a_patch_that_no_machine_holds_is_refused_by_name() -> None:
    content = json.loads(PLAN.to_json())
    content["configurations"]["3d_fullres"]["patch_size"] = [1000, 1000, 1000]
    with pytest.raises(FormatError, match=r"patch_size: .*1000 x 1000 x 1000 voxels"):
        Plan.parse(content)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(PLAN.to_json().replace("7.5", number))
    with pytest.raises(FormatError, match="memory_gb"):
        Plan.read(path)


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (None, "missing_file", "does not exist"),
        (b"", "not_json", "line 1"),
        (b'{"a": 1,\n', "not_json", "line 2"),
        (b"\xff\xfe{}", "not_json", "not UTF-8"),
        (b"[1, 2]", "bad_record", "top: "),
        (b"null", "bad_record", "top: "),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes | None, code: str, reason: str) -> None:
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        Plan.read(path)
    assert (caught.value.code, caught.value.file) == (code, str(path))
    assert reason in str(caught.value)


def test_records_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        PLAN.dataset = "other"  # type: ignore[misc]


def test_json_without_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "x.json", {"name": "é", "value": None})
    assert read_json(tmp_path / "x.json") == {"name": "é", "value": None}


def test_unknown_configuration_names_those_there_are() -> None:
    assert PLAN.configuration("3d_fullres") is CONFIGURATION
    with pytest.raises(PlanError, match="It has: 3d_fullres"):
        PLAN.configuration("2d")
