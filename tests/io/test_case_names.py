"""Names of cases: plain file names on every system, none of which leads out of a folder."""

import pytest

from medseg.core.errors import DatasetError
from medseg.io.case_names import LONGEST_NAME_BYTES, check_case_name, find_alike


@pytest.mark.parametrize("name", ["a", "P01-2.5_x", "Müller", "患者1", "a b", "a..b", "-", "x" * LONGEST_NAME_BYTES])
def test_plain_names_are_let_pass(name):
    check_case_name(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "empty"),
        *((name, "separator") for name in ("/", "../a", "a/b", "..\\a", "C:\\a", "/etc/passwd")),
        *((name, "dot") for name in (".", "..", ".a")),
        *((name, "blank") for name in (" a", "a ", "a\u00a0", "\u3000a")),
        *((name, "no letter") for name in ("a\x00b", "a\nb", "a\x7fb", "a\udcffb")),
        ("é" * 101, "202 bytes"),
    ],
)
def test_names_that_no_file_may_have_are_refused(name, says):
    with pytest.raises(DatasetError, match=says) as caught:
        check_case_name(name)
    assert caught.value.code == "bad_name"
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


def test_names_of_one_file_on_other_disks_are_found():
    assert find_alike(["a", "b", "A", "café", "cafe\u0301", "straße", "STRASSE", "c"]) == {
        "a": ("a", "A"),
        "A": ("a", "A"),
        "café": ("café", "cafe\u0301"),
        "cafe\u0301": ("café", "cafe\u0301"),
        "straße": ("straße", "STRASSE"),
        "STRASSE": ("straße", "STRASSE"),
    }
    assert find_alike(["a", "b", "a1"]) == {}
