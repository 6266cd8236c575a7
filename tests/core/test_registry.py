"""Tables of variants: names, objects, and what happens to a name that is not there."""

from collections.abc import Callable

import pytest

from medseg.core.errors import PlanError
from medseg.core.registry import Registry


def make_table() -> Registry[Callable[[int], int]]:
    table: Registry[Callable[[int], int]] = Registry("loss")

    @table.add("double")
    def double(value: int) -> int:
        return 2 * value

    @table.add("square")
    def square(value: int) -> int:
        return value * value

    return table


def test_look_up_by_name() -> None:
    assert make_table().get("square")(5) == 25
    assert list(make_table()) == ["double", "square"]


def test_an_object_stands_for_itself() -> None:
    assert make_table().get(abs) is abs


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(PlanError, match=r"unknown loss 'cube'\. Known: double, square"):
        make_table().get("cube")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(PlanError, match="'double' is registered already"):
        make_table().add("double")(abs)
