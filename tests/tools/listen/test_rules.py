"""rules.json: everything that is wrong with it is said before anything is listened for."""

import json
from pathlib import Path
from typing import Any

import pytest

from medseg.core.errors import DatasetError, FormatError, ModelError
from medseg.tools.listen.instances import Facts
from medseg.tools.listen.rules import Rule, read_rules
from tests.tools.listen.examples import write_rules

WEB = {"url": "https://archive.example/dicom-web"}
PACS = {"ae_title": "PACS", "host": "10.0.0.5", "port": 104}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"senders": []}, "senders"),
        ({"senders": ["A TITLE LONGER THAN ALLOWED"]}, "senders.0"),
        ({"senders": ["back\\slash"]}, "senders.0"),
        ({"senders": [" BLANK"]}, "senders.0"),
        ({"complete": "patient"}, "complete"),
        ({"sender": ["A"]}, "sender: Extra inputs"),
        ({"rule": {"name": "../x"}}, "rules.0.name"),
        ({"rule": {"modality": "ct"}}, "rules.0.modality"),
        ({"rule": {"send_to": ["nowhere"]}}, "sends to nowhere, the archives are none"),
        ({"rule": {"earlier": {"archive": "pacs"}}, "archives": {"pacs": PACS}}, "expected an archive with a url"),
        ({"archives": {"x": {"host": "a"}}}, "ae_title, host and port, or a url"),
        ({"archives": {"x": {**PACS, **WEB}}}, "not both"),
        ({"archives": {"x": {**WEB, "user": "a"}}}, "user and password_file belong together"),
        ({"archives": {"x": {"url": "https://user:secret@archive.example"}}}, "archives.x.url"),
        ({"archives": {"x": {"url": "file:///etc/passwd"}}}, "archives.x.url"),
        ({"limits": {"associations": 0}}, "limits.associations"),
    ],
)
def test_faults_are_said_with_their_place(tmp_path: Path, model: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError) as raised:
        write_rules(tmp_path / "rules.json", model, **changes)
    assert said in raised.value.reason


def test_what_the_rules_name_is_looked_for(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "rules.json"
    with pytest.raises(ModelError):
        write_rules(path, tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="unknown format 'dicomseg'"):
        write_rules(path, model, rule={"formats": ["dicomseg"]})
    with pytest.raises(DatasetError, match="names no channel of the model"):
        write_rules(path, model, rule={"channels": "PET: Modality=PT"})
    with pytest.raises(FormatError, match="the password cannot be read"):
        write_rules(path, model, archives={"web": {**WEB, "user": "a", "password_file": "none"}})


def test_paths_count_from_the_rules_folder(tmp_path: Path, model: Path) -> None:
    (tmp_path / "near").symlink_to(model)
    (tmp_path / "password").write_text("a word\n")
    archive = {**WEB, "user": "a", "password_file": "password"}
    rules = write_rules(tmp_path / "rules.json", Path("near"), archives={"web": archive})
    assert rules.rules[0].model == tmp_path / "near"
    assert rules.archives["web"].password_file == tmp_path / "password"
    assert json.loads((tmp_path / "rules.json").read_text())["rules"][0]["model"] == "near"
    assert read_rules(tmp_path / "rules.json") == rules


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({}, True),
        ({"modality": "CT"}, True),
        ({"modality": "MR"}, False),
        ({"body_part": "abd*"}, True),
        ({"body_part": "HEAD"}, False),
        ({"description": "*portal VENOUS*"}, True),
        ({"description": "portal"}, False),
        ({"modality": "CT", "body_part": "ABDOMEN", "description": "*liver*"}, False),
    ],
)
def test_which_series_a_rule_fits(asked: dict[str, str], fits: bool) -> None:
    series = Facts("1", "2", "3", "4", "CT", "ABDOMEN", "3.0 Portal venous")
    rule = Rule.model_validate({"name": "a", "model": "m", **asked})
    assert rule.fits(series) is fits
    if asked:
        assert not rule.fits(Facts("1", "2", "3", "4"))
