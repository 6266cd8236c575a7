#!/usr/bin/env python3
"""Files of every format cut at 1,000 places and with one bit flipped at 1,000, again and again with other content.

Usage: scripts/soak truncation, or scripts/soaking/truncation.py [--minutes 5] [--seed 0]
Bits are flipped where a checksum stands for the content: .nii.gz, .png, and the voxels of compressed .nrrd and .mha.
Prints, for each format, how many files were refused, read as the same image, and read as another one; of those there
must be none. Ends with 1 where there is one. The first round is always finished, further ones until the time is over.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from _rounds import soak_rounds

from medseg.io.read import read_array
from tests.corpus.damage import cut_files, flip_bits, judge, pick_places, silence
from tests.corpus.grid_files import meta, nrrd
from tests.corpus.nifti_files import plain
from tests.corpus.picture_files import grey, saved
from tests.phantoms import oblique_geometry

COUNT = 1000
KINDS = {
    "nifti.nii.gz": plain(bytes),
    "nifti.nii": plain(bytes),
    "gzip.nrrd": nrrd(),
    "raw.nrrd": nrrd(encoding="raw"),
    "zlib.mha": meta(),
    "raw.mha": meta(CompressedData="False"),
    "picture.png": saved("PNG", grey),
}
# Where the bytes begin that a checksum covers.
SUMMED = {"nifti.nii.gz": b"", "gzip.nrrd": b"\x1f\x8b", "zlib.mha": b"\x78\x9c", "picture.png": b""}


def soak_round(folder: Path, seed: int) -> dict[str, tuple[Counter[str], list[str]]]:
    """One file of each format, cut and flipped: what became of the damaged ones."""
    generator = np.random.default_rng(seed)
    shape = tuple(int(n) for n in generator.integers(2, 24, 3))
    geometry = oblique_geometry(shape, tuple(generator.uniform(0.5, 5, 3)), tuple(generator.uniform(-99, 99, 3)))
    values = generator.integers(0, 200, shape).astype(np.int16)
    found = {}
    for name, build in KINDS.items():
        path = folder / name
        build(path, values, geometry.affine)
        content = path.read_bytes()
        with silence():
            array, place = read_array(path)
        found[f"{name} cut"] = judge(path, cut_files(content, pick_places(len(content), COUNT, seed)), array, place)
        if name in SUMMED:
            places = pick_places(len(content), COUNT, seed + 1, first=content.index(SUMMED[name]))
            found[f"{name} flipped"] = judge(path, flip_bits(content, places, seed), array, place)
    return found


def main() -> int:
    """Run rounds until the time is over; 1 where a damaged file was read as another image."""
    return soak_rounds(__doc__, ("refused", "same", "changed"), soak_round)


if __name__ == "__main__":
    raise SystemExit(main())
