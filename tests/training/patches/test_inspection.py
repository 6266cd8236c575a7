"""What the training cases lack is said before training starts."""

from medseg.core.labels import LabelScheme
from medseg.training.patches.inspection import find_gaps
from tests.training.examples import ArraySource

LABELS = LabelScheme.make({"organ": 1, "tumour": 2})


def make_case(name: str, *present: int) -> ArraySource:
    return ArraySource((9, 9, 9), {index: [(1, 1, 1)] if index in present else [] for index in range(2)}, 0, name)


def test_nothing_is_said_where_nothing_lacks() -> None:
    assert find_gaps([make_case("a", 0, 1)], LABELS) == ()
    assert find_gaps([make_case("a", 0), make_case("b", 1)], LABELS) == ()


def test_a_label_in_no_case_is_named() -> None:
    (line,) = find_gaps([make_case("a", 0), make_case("b", 0)], LABELS)
    assert line.startswith("'tumour' is in no training case")
    lines = find_gaps([make_case("a")], LABELS)
    assert [line.partition(" ")[0] for line in lines] == ["'organ'", "'tumour'"]


def test_cases_without_a_label_are_named_in_one_line() -> None:
    cases = [make_case("full", 0, 1), *(make_case(f"empty{number}") for number in range(7))]
    (line,) = find_gaps(cases, LABELS)
    assert line.startswith("7 of 8 training cases hold no label")
    assert "empty0, empty1, empty2, empty3, empty4 and 2 more" in line
