"""Labels find their codes by their names, and a data set's own codes come first."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydicom.sr.codedict import codes

from medseg.core.errors import FormatError
from medseg.io.dicom import codes as ours
from medseg.io.dicom.codes import Code, find_code, find_meaning, list_meanings, parse_codes
from medseg.io.dicom.palette import find_colour
from medseg.io.dicom.uids import derive_uid, make_uid


@pytest.mark.parametrize(
    ("label", "kind", "region", "side"),
    [
        ("liver", "Liver", None, None),
        ("Kidney_L", "Kidney", None, "Left"),
        ("right kidneys", "Kidney", None, "Right"),
        ("leftLung", "Lung", None, "Left"),
        ("liver tumour", "Neoplasm", "Liver", None),
        ("GTV_Mass", "Neoplasm", None, None),
        ("lung nodules (right)", "Nodule", "Lung", "Right"),
        ("brain metastases", "Metastasis", "Brain", None),
        ("left ventricle", "LeftVentricle", None, None),
        ("inferior vena cava", "InferiorVenaCava", None, None),
        ("small bowel", "SmallIntestine", None, None),
        ("vertebrae", "Vertebra", None, None),
    ],
)
def test_names_are_understood(label: str, kind: str, region: str | None, side: str | None) -> None:
    found = find_meaning(label)
    assert found.known
    assert found.kind == find_code(kind)
    assert found.region == (find_code(region) if region else None)
    assert found.side == (find_code(side) if side else None)
    wanted = "MorphologicallyAbnormalStructure" if kind in ours._ABNORMAL.values() else "AnatomicalStructure"
    assert found.category == find_code(wanted)


@pytest.mark.parametrize("label", ["label_3", "delivery", "1", "", "clung"])
def test_unknown_names_are_tissue(label: str) -> None:
    found = find_meaning(label)
    assert not found.known
    assert found.kind.meaning == found.category.meaning == "Tissue"


@pytest.mark.parametrize("keyword", sorted({*ours._ANATOMY.values(), *ours._ABNORMAL.values()}))
def test_every_keyword_is_in_the_dictionary(keyword: str) -> None:
    found = find_code(keyword)
    assert found == Code(
        *(getattr(getattr(codes.SCT, keyword), name) for name in ("value", "scheme_designator", "meaning"))
    )
    assert len(found.meaning) <= 64


def test_a_data_set_gives_its_own() -> None:
    own = {"value": "A-1", "scheme": "99OURS", "meaning": "Our own structure"}
    content = {
        "liver": {"type": "Spleen", "side": "Right"},
        "x": {"category": "MorphologicallyAbnormalStructure", "type": own, "region": "DCM:Device"},
    }
    found = list_meanings(parse_codes(content, labels=["liver", "x", "pancreas"], file="dataset.json"))
    assert find_meaning("liver", found).kind == find_code("Spleen")
    assert find_meaning("liver", found).category == find_code("AnatomicalStructure")
    assert find_meaning("x", found).kind == Code("A-1", "99OURS", "Our own structure")
    assert find_meaning("x", found).region == find_code("Device", "DCM")
    assert find_meaning("pancreas", found).kind == find_code("Pancreas")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "a list where labels"),
        ({"liver": "Liver"}, "liver has no fields"),
        ({"liver": {"region": "Liver"}}, r"has \['region'\], expected type"),
        ({"liver": {"type": "NoSuchThing"}}, "no code is called NoSuchThing in SCT"),
        ({"liver": {"type": "__class__"}}, "no code is called"),
        ({"liver": {"type": "NONE:Liver"}}, "no code is called Liver in NONE"),
        ({"liver": {"type": {"value": "1" * 17, "scheme": "S", "meaning": "m"}}}, "the value of a code"),
        ({"liver": {"type": {"value": "1", "scheme": "S", "meaning": "a\\b"}}}, "the meaning of a code"),
        ({"liver": {"type": {"value": "1", "scheme": "S", "meaning": " "}}}, "the meaning of a code"),
        ({"liver": {"type": {"value": "1", "scheme": "S"}}}, "neither a keyword nor"),
        ({"spleen": {"type": "Spleen"}}, "codes of 'spleen', the labels are liver"),
    ],
)
def test_bad_lists_are_refused(content: Any, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        parse_codes(content, labels=["liver"], file="dataset.json")
    assert caught.value.file == "dataset.json"


def test_identifiers() -> None:
    assert derive_uid("a", "b") == derive_uid("a", "b") != derive_uid("ab", "")
    assert derive_uid("a", "bc") != derive_uid("ab", "c")
    assert make_uid() != make_uid()
    for uid in (derive_uid("x"), make_uid()):
        assert uid.startswith("2.25.")
        assert len(uid) <= 64
        assert 0 < int(uid[5:]) < 1 << 128


def test_neighbouring_colours_differ() -> None:
    colours = [find_colour(number) for number in range(24)]
    assert len(set(colours)) == 12
    assert all(first != second for first, second in pairwise(colours))
