"""Errors say where, what and what to do, on one line, and are the builtin errors that callers know."""

import pytest

from medseg.core import errors
from medseg.core.errors import DatasetError, MedsegError


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("DatasetError", ValueError),
        ("GeometryError", ValueError),
        ("FormatError", ValueError),
        ("PlanError", ValueError),
        ("ModelError", ValueError),
        ("ResourceError", RuntimeError),
        ("MissingExtraError", ImportError),
    ],
)
def test_each_error_is_a_builtin_too(kind: str, builtin: type[Exception]) -> None:
    error = getattr(errors, kind)("reason")
    assert isinstance(error, MedsegError)
    assert isinstance(error, builtin)
    assert error.code != MedsegError.code
    assert kind in (errors.__doc__ or "")
    assert str(error) == "reason"


def test_the_message_is_one_line() -> None:
    error = DatasetError(
        "expected 2 channels,\n found 1", case="p01", file="p01_0000.nii.gz", remedy="Add p01_0001.nii.gz"
    )
    assert str(error) == "p01, p01_0000.nii.gz: expected 2 channels, found 1. Add p01_0001.nii.gz"


def test_the_case_is_filled_in_once() -> None:
    error = DatasetError("reason").for_case("p01").for_case("p02")
    assert error.case == "p01"
    assert str(error) == "p01: reason"
