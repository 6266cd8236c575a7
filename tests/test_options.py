"""What options mean."""

import pytest
import typer

from medseg.options.values import gather_settings, parse_margins, parse_part, parse_tolerances
from medseg.options.words import Sampling


def test_an_option_of_its_own_wins_over_set() -> None:
    assert gather_settings(None, None) == {}
    assert gather_settings(["batch_size = 4"], None) == {"batch_size": "4"}
    found = gather_settings(["sampling=foreground", "seed=3"], Sampling.lesion)
    assert found == {"sampling": "lesion", "seed": "3"}


def test_a_setting_without_a_sign_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="key=value"):
        gather_settings(["batch_size"], None)


@pytest.mark.parametrize(("text", "part"), [(None, None), ("1/4", (1, 4)), ("4/4", (4, 4)), ("01/1", (1, 1))])
def test_parts(text: str | None, part: tuple[int, int] | None) -> None:
    assert parse_part(text) == part


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3/2", "there is no part 3 of 2; use --part 1/2 to --part 2/2"),
        ("0/4", "there is no part 0 of 4; use --part 1/4 to --part 4/4"),
        ("1", "--part '1' is not like 1/4"),
        ("1/0", "--part '1/0' is not like 1/4"),
        ("a/b", "not like 1/4"),
        ("-1/4", "not like 1/4"),
        ("1/²", "not like 1/4"),
    ],
)
def test_a_part_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_part(text)
    assert said in str(caught.value)


def test_tolerances_by_label_and_for_all_others() -> None:
    assert parse_tolerances(None) is None
    assert parse_tolerances("1.5") == {"": 1.5}
    assert parse_tolerances("tumour=2") == {"tumour": 2.0}
    assert parse_tolerances("1, tumour = 2 ,a=b=3") == {"": 1.0, "tumour": 2.0, "a=b": 3.0}
    for text in ("", "tumour", "tumour=", "1,,2"):
        with pytest.raises(typer.BadParameter, match="not a number or label=number"):
            parse_tolerances(text)


def test_margins_by_metric() -> None:
    assert parse_margins(None) == {}
    assert parse_margins(["dice=0.02", "hd95 = 1"]) == {"dice": 0.02, "hd95": 1.0}
    for text in ("dice", "=1", "dice=", "dice=x", "dice=-0.1", "dice=0", "dice=inf", "dice=nan"):
        with pytest.raises(typer.BadParameter, match="with a number above 0"):
            parse_margins([text])
    with pytest.raises(typer.BadParameter, match="twice for dice"):
        parse_margins(["dice=1", "dice=2"])
