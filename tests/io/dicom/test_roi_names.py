"""Which structure is which label, by the user's patterns."""

import json

import pytest

from medseg.core.errors import DatasetError, FormatError
from medseg.io.dicom.roi_names import RoiRules, choose_rois, draft_roi_rules, read_roi_rules

RULES = RoiRules.parse(
    {
        "labels": {"tumour": {"patterns": ["gtv*"], "several": "unite"}, "liver": ["Liver", "leber"]},
        "unused": ["body*"],
    }
)


def test_structures_are_chosen_whatever_their_case():
    names = ["BODY", " Gtv_1 ", "LEBER", "gtv 2", "Isocentre", "GTVn"]
    choice = choose_rois(names, RULES, [True, True, True, True, True, False], "rs.dcm")
    assert choice.labels == {"tumour": (1, 3), "liver": (2,)}
    assert choice.left == (
        (0, "listed as unused"), (4, "matches no label's pattern"), (5, "it has no closed contours"),
    )  # fmt: skip


def test_accents_match_however_they_are_stored():
    rules = RoiRules.parse({"labels": {"a": ["Läsion*"]}})
    assert choose_rois(["LA\u0308SION 1"], rules, [True], "a").labels == {"a": (0,)}


@pytest.mark.parametrize(
    ("names", "code"),
    [(["liver", "Leber"], "several_structures"), (["gtv liver"], "ambiguous_structure")],
)
def test_doubtful_choices_are_refused(names, code):
    rules = RoiRules.parse({"labels": {"tumour": ["gtv*"], "liver": ["*liver", "leber"]}})
    with pytest.raises(DatasetError) as caught:
        choose_rois(names, rules, [True] * len(names), "rs.dcm")
    assert caught.value.code == code
    assert "rois.json" in caught.value.remedy


def test_values_follow_the_order_or_are_given(tmp_path):
    assert RULES.scheme.labels == {"tumour": (1,), "liver": (2,)}
    path = tmp_path / "rois.json"
    path.write_text(
        json.dumps({"labels": {"a": {"patterns": ["a"], "value": 7}, "b": {"patterns": ["b"], "value": 3}}})
    )
    assert read_roi_rules(path).scheme.labels == {"a": (7,), "b": (3,)}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"labels": {}},
        {"labels": {"a": []}},
        {"labels": {"a": [""]}},
        {"labels": {"a": ["*"] * 2, "b": 3}},
        {"labels": {"a": {"patterns": ["a"], "value": 0}}},
        {"labels": {"a": {"patterns": ["a"], "several": "perhaps"}}},
        {"labels": {"a": ["x" * 300]}},
        {"labels": {"a": ["a"]}, "overlap": "first"},
        {"labels": {"a": {"patterns": ["a"], "value": 1}, "b": {"patterns": ["b"], "value": 1}}},
        {"labels": {"a": {"patterns": ["a"], "value": 1}, "b": ["b"]}},
    ],
)
def test_bad_rules_are_refused_with_their_file(tmp_path, content):
    path = tmp_path / "rois.json"
    path.write_text(json.dumps(content))
    with pytest.raises((FormatError, DatasetError)) as caught:
        read_roi_rules(path)
    assert str(path) in str(caught.value)


def test_a_draft_chooses_each_structure_it_was_made_of(tmp_path):
    names = ["GTV [1]", "gtv [1] ", "Body*", "Läsion", "", "new\nline"]
    draft = draft_roi_rules(names)
    assert list(draft.labels) == ["Body*", "GTV [1]", "Läsion", "new\\nline"]
    draft.write(tmp_path / "rois.json")
    rules = read_roi_rules(tmp_path / "rois.json")
    for name, label in (("GTV [1]", "GTV [1]"), ("body*", "Body*"), ("Läsion", "Läsion"), ("new\nline", "new\\nline")):
        assert choose_rois([name], rules, [True], "a").labels[label] == (0,)
    assert not any(choose_rois(["GTV 1", "Bodyguard"], rules, [True] * 2, "a").labels.values())
    assert draft_roi_rules([]) is None
