"""A thousand cuts and a thousand flipped bits: no damaged file is read as another image."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from medseg.io.read import read_array
from tests.corpus.damage import cut_files, flip_bits, judge, pick_places
from tests.corpus.grid_files import meta, nrrd
from tests.corpus.nifti_files import make_plain
from tests.corpus.picture_files import grey, saved
from tests.phantoms import oblique_geometry

GRID = oblique_geometry((9, 8, 7))
VALUES = np.random.default_rng(8).integers(-1000, 1000, GRID.shape).astype(np.int16)
COUNT = 1000


def write_gz(path, array, affine):
    path.write_bytes(gzip.compress(make_plain(array, affine)))


def write_big_gz(path, array, affine):
    image = nib.Nifti1Image(np.tile(array, (4, 4, 4)).astype(np.float32), affine)
    path.write_bytes(gzip.compress(image.to_bytes(), 1))


def write_nii(path, array, affine):
    path.write_bytes(make_plain(array, affine))


def write_png(path, array, affine):
    saved("PNG", grey)(path, np.abs(array), affine)


KINDS = {
    "x.nii.gz": write_gz,
    "big.nii.gz": write_big_gz,
    "x.nii": write_nii,
    "x.nrrd": nrrd(),
    "raw.nrrd": nrrd(encoding="raw"),
    "x.mha": meta(),
    "raw.mha": meta(CompressedData="False"),
    "x.png": write_png,
}


def make(tmp_path, name):
    path = tmp_path / name
    KINDS[name](path, VALUES, GRID.affine)
    return path, path.read_bytes(), *read_array(path)


@pytest.mark.parametrize("name", KINDS)
def test_no_cut_file_is_accepted_with_other_content(tmp_path, name):
    path, content, array, geometry = make(tmp_path, name)
    counts, changed = judge(path, cut_files(content, pick_places(len(content), COUNT, 1)), array, geometry)
    assert changed == []
    assert counts["same"] == 0
    assert counts["refused"] >= min(COUNT, len(content))


@pytest.mark.parametrize("name", ["x.nii.gz", "big.nii.gz", "x.png"])
def test_no_flipped_bit_is_accepted_with_other_content(tmp_path, name):
    path, content, array, geometry = make(tmp_path, name)
    counts, changed = judge(path, flip_bits(content, pick_places(len(content), COUNT, 2), 3), array, geometry)
    assert changed == []
    assert counts["refused"] > 0.9 * counts.total()


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_no_flipped_bit_in_compressed_voxels_is_accepted(tmp_path, name):
    path, content, array, geometry = make(tmp_path, name)
    first = content.index(b"\x1f\x8b" if name == "x.nrrd" else b"\x78\x9c")
    places = pick_places(len(content), 300, 4, first=first)
    counts, changed = judge(path, flip_bits(content, places, 5), array, geometry)
    assert changed == []
    assert counts["refused"] > 0.9 * counts.total()


def test_a_flipped_bit_in_a_plain_header_is_refused_or_changes_what_nothing_else_states(tmp_path):
    """An uncompressed header has no checksum: what it states once nobody can check, what it states twice is checked."""
    path, content, array, geometry = make(tmp_path, "x.nii")
    places = [place for place in range(348) for _ in range(8)]
    damaged = [(f"bit {n % 8} of byte {n // 8}", flip(content, place, n % 8)) for n, place in enumerate(places)]
    counts, changed = judge(path, damaged, array, geometry)
    assert counts["refused"] + counts["same"] > 0.85 * counts.total()
    once = {
        *range(112, 120),  # the scaling
        *range(123, 124),  # the unit
        *range(252, 256),  # whether there is a sform and a qform
        *range(280, 328),  # the sform, below the tolerance within which the qform agrees
        *range(76, 92),  # the spacing, below its tolerance
        *range(256, 280),  # the qform
    }
    assert {int(name.rpartition(" ")[2]) for name in changed} <= once


def flip(content, place, bit):
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
