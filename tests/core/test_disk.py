"""Room on a disk, before a run and when it is used up."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from medseg.core.disk import SPARE_BYTES, explain_write, is_disk_fault, read_free_room, require_room
from medseg.core.errors import FormatError, ResourceError


def test_what_does_not_fit_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**12, 0, 2_500_000_000))
    folder = tmp_path / "not" / "there" / "yet"
    with pytest.raises(ResourceError) as caught:
        require_room(folder, 12_340_000_000, "preparing 7 cases", remedy="Or prepare fewer")
    assert caught.value.code == "no_room"
    assert str(folder) in str(caught.value)
    assert "preparing 7 cases needs about 12.3 GB, and 2.5 GB are free" in str(caught.value)
    require_room(folder, 2_500_000_000 - SPARE_BYTES, "preparing 7 cases")
    require_room(folder, 0, "nothing")
    assert not folder.exists()


def test_a_system_that_does_not_tell_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    assert read_free_room(tmp_path) is None
    require_room(tmp_path, 10**18, "anything")


@pytest.mark.parametrize(
    ("number", "code", "stops"),
    [
        (errno.ENOSPC, "disk_full", True),
        (errno.EDQUOT, "disk_full", True),
        (errno.EFBIG, "disk_full", True),
        (errno.EROFS, "read_only", True),
        (errno.EACCES, "cannot_write", False),
    ],
)
def test_a_fault_of_the_disk_is_told_in_one_line(number: int, code: str, stops: bool) -> None:
    error = OSError(number, os.strerror(number), "/somewhere/mask.nii.gz")
    told = explain_write(error, case="scan_1")
    assert told.code == code
    assert is_disk_fault(error) is is_disk_fault(told) is stops
    text = str(told)
    assert text.startswith("scan_1, /somewhere/mask.nii.gz: it cannot be written: ")
    assert os.strerror(number) in text
    assert "the same command goes on" in text
    assert "\n" not in text


def test_other_faults_are_no_faults_of_the_disk() -> None:
    assert not is_disk_fault(FormatError("damaged"))
    assert not is_disk_fault(ValueError("x"))
    assert not is_disk_fault(FileNotFoundError(errno.ENOENT, "No such file"))
