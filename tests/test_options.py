"""What options mean."""

import pytest
import typer

from medseg.options import Sampling, gather_settings


def test_an_option_of_its_own_wins_over_set() -> None:
    assert gather_settings(None, None) == {}
    assert gather_settings(["batch_size = 4"], None) == {"batch_size": "4"}
    found = gather_settings(["sampling=foreground", "seed=3"], Sampling.lesion)
    assert found == {"sampling": "lesion", "seed": "3"}


def test_a_setting_without_a_sign_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="key=value"):
        gather_settings(["batch_size"], None)
