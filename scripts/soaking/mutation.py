#!/usr/bin/env python3
"""Mutated image files of every format: each must be refused with our error or give a sound image, and soon.

Usage: scripts/soak mutation, or scripts/soaking/mutation.py [--minutes 10] [--seed 0] [--findings FOLDER]
The seeds are the files of tests/corpus. With the package atheris installed the mutations are guided by what code they
reach; otherwise they are drawn at random, from the same operations. A finding is an error that is not ours, an image
that is not finite or does not fit its grid, or a file that takes longer than 10 s; it is kept in FOLDER
(soak-findings), and the script ends with 1. Prints how many files were tried, refused (by code) and read.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from medseg.core.errors import MedsegError
from medseg.io.files import split_ending
from medseg.io.read import read_array
from tests.bad_inputs import ENTRIES
from tests.corpus.damage import silence
from tests.phantoms import oblique_geometry

SLOWEST_S = 10.0
LARGEST_SEED_BYTES = 1 << 16
# Numbers at which readers err: limits of types, and what floating-point headers dread.
NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\x7f", b"\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\x01", b"\x80")
WORDS = (b"0", b"-1", b"nan", b"inf", b"1e308", b"99999999999", b"True", b"False", b"none", b"LOCAL", b"../x", b"")
GRID = oblique_geometry((9, 8, 7))
VALUES = np.random.default_rng(8).integers(0, 200, GRID.shape).astype(np.int16)


def collect_seeds(folder: Path) -> list[tuple[str, bytes]]:
    """The corpus's files, (ending, content), small ones alone; pipes and links are left out."""
    seeds = []
    for entry in ENTRIES:
        array = VALUES[:, :, :1].astype(np.uint8) if "picture" in entry.roles else VALUES
        path = entry.write(folder, array, GRID.affine)
        if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST_SEED_BYTES:
            seeds.append((split_ending(path)[1], path.read_bytes()))
    return seeds


def mutate(content: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """A few random operations on a file's bytes."""
    changed = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        # Headers are where readers decide, so half of all changes are there.
        size = max(1, len(changed))
        place = int(generator.integers(min(size, 400) if generator.random() < 0.5 else size))
        kind = int(generator.integers(8))
        if kind == 0 and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            number = NUMBERS[int(generator.integers(len(NUMBERS)))]
            changed[place : place + len(number)] = number
        elif kind == 2:
            changed[place : place + int(generator.integers(1, 9))] = WORDS[int(generator.integers(len(WORDS)))]
        elif kind == 3:
            del changed[place : place + int(generator.integers(1, 64))]
        elif kind == 4:
            changed[place:place] = generator.bytes(int(generator.integers(1, 64)))
        elif kind == 5:
            changed[place : place + 32] = other[place : place + 32]
        elif kind == 6:
            del changed[place:]
        else:
            changed[place:place] = changed[place : place + 64]
    return bytes(changed)


def mutate_inside(content: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """The same on what a gzip file holds, where it is one, so that the checksum does not stop every change."""
    if content[:2] != b"\x1f\x8b" or generator.random() < 0.3:
        return mutate(content, other, generator)
    try:
        inner, more = gzip.decompress(content), other
        more = gzip.decompress(other) if other[:2] == b"\x1f\x8b" else other
    except (OSError, EOFError, zlib.error):
        return mutate(content, other, generator)
    return gzip.compress(mutate(inner[:LARGEST_SEED_BYTES], more, generator), 1)


class Trial:
    """Files that are tried one after another, in one folder; findings are kept in another."""

    def __init__(self, folder: Path, findings: Path) -> None:
        self.folder, self.findings = folder, findings
        self.counts: Counter[str] = Counter()

    def attempt(self, ending: str, content: bytes) -> None:
        """Read one file; whatever is no error of ours, or no sound image, is kept."""
        path = self.folder / f"mutated{ending}"
        path.write_bytes(content)
        began, problem = time.monotonic(), ""
        try:
            with silence():
                array, geometry = read_array(path)
            self.counts["read"] += 1
            if array.shape[1:] != geometry.shape or not np.isfinite(array).all():
                problem = f"an image of {array.shape} on a grid of {geometry.shape}"
            if not np.isfinite(geometry.affine).all() or not all(value > 0 for value in geometry.spacing_mm):
                problem = f"a grid with spacing {geometry.spacing_mm}"
        except MedsegError as error:
            self.counts[error.code] += 1
            if "\n" in str(error) or not error.file:
                problem = f"a message of several lines or without a file: {error!s:.200}"
        except Exception:  # the very thing that is looked for
            problem = traceback.format_exc()
        if time.monotonic() - began > SLOWEST_S:
            problem = problem or f"it took {time.monotonic() - began:.0f} s"
        if problem:
            self.keep(ending, content, problem)

    def keep(self, ending: str, content: bytes, problem: str) -> None:
        """Write a finding down."""
        self.counts["FINDINGS"] += 1
        self.findings.mkdir(parents=True, exist_ok=True)
        path = self.findings / f"{zlib.crc32(content):08x}{ending}"
        path.write_bytes(content)
        print(f"{path}: {problem}", flush=True)


def fuzz_at_random(trial: Trial, seeds: list[tuple[str, bytes]], end: float, seed: int) -> None:
    """Random mutations until the time is over."""
    generator = np.random.default_rng(seed)
    while time.monotonic() < end:
        ending, content = seeds[int(generator.integers(len(seeds)))]
        other = seeds[int(generator.integers(len(seeds)))][1]
        trial.attempt(ending, mutate_inside(content, other, generator))


def fuzz_with_atheris(trial: Trial, seeds: list[tuple[str, bytes]], minutes: float, seed: int) -> None:
    """Mutations that are guided by the code they reach; the first byte of an input chooses the format."""
    import atheris

    endings = sorted({ending for ending, _ in seeds})
    corpus = trial.folder / "seeds"
    corpus.mkdir()
    for number, (ending, content) in enumerate(seeds):
        (corpus / str(number)).write_bytes(bytes([endings.index(ending)]) + content)

    def attempt(data: bytes) -> None:
        if data:
            trial.attempt(endings[data[0] % len(endings)], data[1:])
            if trial.counts["FINDINGS"]:
                raise RuntimeError("a finding")

    atheris.instrument_all()
    words = [sys.argv[0], str(corpus), f"-max_total_time={int(60 * minutes)}", f"-seed={seed + 1}", "-verbosity=0"]
    atheris.Setup(words, attempt)
    atheris.Fuzz()  # ends the process


def main() -> int:
    """Try mutated files until the time is over; 1 where one was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("soak-findings"))
    parser.add_argument("--random", action="store_true", help="Draw at random even where atheris is installed.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medseg-soak-") as folder:
        seeds = collect_seeds(Path(folder) / "corpus")
        trial = Trial(Path(folder), arguments.findings)
        if not arguments.random and has_atheris():
            import atexit

            atexit.register(tell, trial)
            fuzz_with_atheris(trial, seeds, arguments.minutes, arguments.seed)
        fuzz_at_random(trial, seeds, time.monotonic() + 60 * arguments.minutes, arguments.seed)
    tell(trial)
    return 1 if trial.counts["FINDINGS"] else 0


def has_atheris() -> bool:
    """Whether the guided fuzzer is installed."""
    try:
        import atheris
    except ImportError:
        return False
    return bool(atheris)


def tell(trial: Trial) -> None:
    """Print what became of the files."""
    print(
        f"{trial.counts.total()} files: " + ", ".join(f"{count} {name}" for name, count in trial.counts.most_common())
    )


if __name__ == "__main__":
    raise SystemExit(main())
