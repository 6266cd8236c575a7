"""Files that are no images: one line each, before a parser sees them."""

import os

import pytest

from medseg.core.errors import FormatError
from medseg.io import read_image
from tests.io.trees import save_nifti


def make_missing(path):
    return None


def make_folder(path):
    path.mkdir()


def make_pipe(path):
    os.mkfifo(path)


def make_text(text):
    def write(path):
        path.write_bytes(text)

    return write


DICOM = b"\0" * 128 + b"DICM" + b"\0" * 100


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".jpg", ".tif"])
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_missing, "missing_file"),
        (make_folder, "not_a_file"),
        (make_pipe, "not_a_file"),
        (make_text(b""), "empty_file"),
        (make_text(b"hello, I am no image"), "not_an_image"),
        (make_text(b"<!DOCTYPE html><html>not found</html>"), "wrong_ending"),
        (make_text(b"version https://git-lfs.github.com/spec/v1\n"), "wrong_ending"),
        (make_text(DICOM), "wrong_ending"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, ending, make, code):
    path = tmp_path / f"x{ending}"
    make(path)
    with pytest.raises(FormatError) as caught:
        read_image(path)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_magic_against_ending_names_the_right_one(tmp_path):
    plain = save_nifti(tmp_path / "x.nii")
    plain.rename(tmp_path / "x.nii.gz")
    with pytest.raises(FormatError, match=r"NIfTI-1 without compression.*Rename it to end in \.nii"):
        read_image(tmp_path / "x.nii.gz")


def test_unknown_ending(tmp_path):
    with pytest.raises(FormatError, match="the ending is none of"):
        read_image(tmp_path / "x.bmp")


def test_a_dangling_link_is_a_missing_file(tmp_path):
    (tmp_path / "x.nii").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="does not exist"):
        read_image(tmp_path / "x.nii")
