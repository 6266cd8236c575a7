"""Whatever stands at whatever place of plans.json or dataset.json: a plan comes out, or one line of refusal."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.core.errors import MedsegError
from medseg.core.plan import Plan
from medseg.inference.nnunet.plans import read_source_plan
from tests.inference.nnunet.folders import (
    DATASET,
    make_configuration,
    make_network,
    make_old_configuration,
    make_plans,
)

REGIONS = DATASET | {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}
SOURCES = [
    {"plans": make_plans({"3d": make_configuration(make_network())}), "dataset": DATASET},
    {"plans": make_plans({"3d": make_configuration(make_network(name="residual_unet"))}), "dataset": REGIONS},
    {"plans": make_plans({"3d": make_old_configuration(make_network(2))}), "dataset": DATASET},
]
NUMBERS = st.sampled_from([0, 1, -1, 2, 3, 7, 10**9, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), True])
VALUES = st.recursive(
    st.none() | NUMBERS | st.sampled_from(["", "x", "3d", "../x", "0", "\0", "torch.nn.LeakyReLU"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["0", "a", "eps"]), inner, max_size=3),
    max_leaves=6,
)


def list_places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every entry, at every level."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield (*before, key)
        yield from list_places(value, (*before, key))


def read_or_refuse(folder: Path) -> Plan | MedsegError:
    try:
        return read_source_plan(folder, "3d").plan
    except MedsegError as error:
        return error


@settings(max_examples=300)
@given(data=st.data())
def test_a_changed_entry_is_a_plan_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = copy.deepcopy(data.draw(st.sampled_from(SOURCES), label="source"))
    for _ in range(data.draw(st.integers(1, 2))):
        *keys, last = data.draw(st.sampled_from([place for place in list_places(content) if len(place) > 1]))
        inner: Any = content
        for key in keys:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[last] = data.draw(VALUES)
        else:
            del inner[last]
    (folder / "plans.json").write_text(json.dumps(content["plans"]))
    (folder / "dataset.json").write_text(json.dumps(content["dataset"]))
    answer = read_or_refuse(folder)
    if isinstance(answer, Plan):
        assert Plan.model_validate_json(answer.to_json()) == answer
    else:
        assert "\n" not in str(answer)
        assert len(str(answer)) < 1000
        assert answer.file in (str(folder / "plans.json"), str(folder / "dataset.json"))
