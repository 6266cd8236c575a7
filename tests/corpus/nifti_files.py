"""NIfTI files that are cut, damaged, wrapped wrongly or no NIfTI at all."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.corpus.entry import Build, Entry, accepted, refused

Bytes = Callable[[bytes], bytes]
ZEROS = 1 << 20


def make_plain(array: np.ndarray, affine: np.ndarray) -> bytes:
    """A sound NIfTI-1 file: sform and qform say the same."""
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm")
    return bytes(image.to_bytes())


def plain(change: Bytes) -> Build:
    """Writes a NIfTI file's changed bytes, compressed afterwards where the ending says so."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        content = change(make_plain(array, affine))
        path.write_bytes(gzip.compress(content, 6) if path.name.endswith(".gz") else content)

    return build


def squeezed(change: Bytes) -> Build:
    """Writes a compressed NIfTI file whose compressed bytes are changed."""

    def build(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        path.write_bytes(change(gzip.compress(make_plain(array, affine), 6)))

    return build


def raw(content: bytes) -> Build:
    """Writes these bytes."""
    return lambda path, array, affine: path.write_bytes(content) and None


def flip(position: float) -> Bytes:
    """Flips a bit at a share of the length."""

    def change(content: bytes) -> bytes:
        place = int(len(content) * position)
        return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]

    return change


def make_pipe(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    os.mkfifo(path)


def link_to(target: str) -> Build:
    return lambda path, array, affine: path.symlink_to(target)


def split_members(content: bytes) -> bytes:
    inner = gzip.decompress(content)
    return b"".join(gzip.compress(inner[n : n + 1000]) for n in range(0, len(inner), 1000))


def grow(content: bytes) -> bytes:
    """The header's voxels, then a gigabyte of zeros that no header declares."""
    encoder = zlib.compressobj(9, wbits=31)
    pieces = [encoder.compress(content)]
    pieces += [encoder.compress(bytes(ZEROS)) for _ in range(64)]
    return b"".join([*pieces, encoder.flush()])


def write_bomb(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.write_bytes(grow(make_plain(array, affine)))


def pad_to_block(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512 or 512)


CUT = "Fetch it again"
FILES: tuple[Entry, ...] = (
    refused("empty_gz", ".nii.gz", raw(b""), "empty_file", "empty"),
    refused("empty_nii", ".nii", raw(b""), "empty_file", "empty"),
    refused("half_gz", ".nii.gz", squeezed(lambda c: c[: len(c) // 2]), "truncated", "no end"),
    refused("nine_tenths_gz", ".nii.gz", squeezed(lambda c: c[: len(c) * 9 // 10]), "truncated", "no end"),
    refused("eight_bytes_gz", ".nii.gz", squeezed(lambda c: c[:8]), "truncated not_an_image"),
    refused("no_length_gz", ".nii.gz", squeezed(lambda c: c[:-4]), "truncated", "no end"),
    refused("no_sum_gz", ".nii.gz", squeezed(lambda c: c[:-8]), "truncated", "no end"),
    refused("one_byte_less_gz", ".nii.gz", squeezed(lambda c: c[:-1]), "truncated", "no end"),
    refused("header_cut_nii", ".nii", plain(lambda c: c[:200]), "truncated", "200 bytes of 348"),
    refused("header_cut_inside_gz", ".nii.gz", plain(lambda c: c[:200]), "truncated", "200 bytes of 348"),
    refused("half_nii", ".nii", plain(lambda c: c[: len(c) // 2]), "truncated"),
    refused("one_byte_less_nii", ".nii", plain(lambda c: c[:-1]), "truncated"),
    refused("cut_inside_gz", ".nii.gz", plain(lambda c: c[:-100]), "truncated"),
    refused("flipped_bit_early_gz", ".nii.gz", squeezed(flip(0.2)), "corrupt truncated wrong_size"),
    refused("flipped_bit_late_gz", ".nii.gz", squeezed(flip(0.9)), "corrupt truncated wrong_size"),
    refused("wrong_sum_gz", ".nii.gz", squeezed(lambda c: c[:-8] + b"\0\1\2\3" + c[-4:]), "corrupt", "data check"),
    refused("wrong_length_gz", ".nii.gz", squeezed(lambda c: c[:-4] + struct.pack("<I", 7)), "corrupt", "length check"),
    refused("rubbish_after_gz", ".nii.gz", squeezed(lambda c: c + b"rubbish"), "corrupt", "damaged"),
    refused("rubbish_after_nii", ".nii", plain(lambda c: c + b"rubbish"), "wrong_size", "header declares"),
    refused("zeros_after_nii", ".nii", plain(lambda c: c + bytes(8192)), "wrong_size", "header declares"),
    refused("twice_inside_gz", ".nii.gz", plain(lambda c: c + c), "wrong_size", "header declares"),
    refused("empty_members_gz", ".nii.gz", squeezed(lambda c: gzip.compress(b"") * 5000 + c), "corrupt", "parts"),
    refused("growing_gz", ".nii.gz", write_bomb, "wrong_size", "header declares"),
    refused(
        "plain_named_gz",
        ".nii.gz",
        lambda p, a, m: p.write_bytes(make_plain(a, m)) and None,
        "wrong_ending",
        "Rename it to end in .nii",
    ),
    refused("gz_named_nii", ".nii", squeezed(lambda c: c), "wrong_ending", "Rename it to end in .nii.gz"),
    refused("web_page", ".nii.gz", raw(b"<!DOCTYPE html><html>Log in</html>"), "wrong_ending", "web page"),
    refused(
        "lfs_pointer",
        ".nii.gz",
        raw(b"version https://git-lfs.github.com/spec/v1\nsize 9\n"),
        "wrong_ending",
        "Git LFS",
    ),
    refused("zip_archive", ".nii", raw(b"PK\x03\x04" + bytes(400)), "wrong_ending", "ZIP"),
    refused("dicom_file", ".nii", raw(bytes(128) + b"DICM" + bytes(400)), "wrong_ending", "DICOM"),
    refused("text", ".nii", raw(b"not an image, but some words " * 40), "not_an_image"),
    refused("text_inside_gz", ".nii.gz", raw(gzip.compress(b"not an image " * 99)), "not_an_image"),
    refused("nothing_inside_gz", ".nii.gz", raw(gzip.compress(b"")), "not_an_image"),
    refused("nested_gz", ".nii.gz", squeezed(gzip.compress), "not_an_image"),
    refused("pipe", ".nii.gz", make_pipe, "not_a_file", "named pipe"),
    refused("pipe_nii", ".nii", make_pipe, "not_a_file", "named pipe"),
    refused("dangling_link", ".nii.gz", link_to("nowhere.nii.gz"), "missing_file", "does not exist"),
    refused("link_to_device", ".nii", link_to("/dev/zero"), "not_a_file", "device"),
    refused("link_to_itself", ".nii", link_to("link_to_itself.nii"), "missing_file"),
    refused("new\nline", ".nii.gz", squeezed(lambda c: c), "bad_name", "Rename it"),
    refused("undecodable_\udcff", ".nii.gz", squeezed(lambda c: c), "bad_name", "Rename it"),
    accepted("several_members", ".nii.gz", squeezed(split_members)),
    accepted("zero_padding_gz", ".nii.gz", squeezed(lambda c: c + bytes(512))),
    accepted("block_padding_nii", ".nii", plain(pad_to_block)),
    accepted("upper_case", ".NII.GZ", squeezed(lambda c: c)),
    accepted("named gzip with blanks", ".nii.gz", squeezed(lambda c: gzip.compress(gzip.decompress(c), 1, mtime=7))),
)
