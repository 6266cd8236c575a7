#!/usr/bin/env python3
"""CT, MR and PET series with one file cut at 1,000 places, and with one bit of its header flipped at 1,000.

Usage: scripts/soak dicom_headers, or scripts/soaking/dicom_headers.py [--minutes 5] [--seed 0]
Prints, for each modality, how many series were refused, the same, said to be doubtful, and changed without a word; of
those there must be none. Ends with 1 where there is one. The first round is always finished, further ones until the
time is over: the damaged slice is the first one, an inner one and the last one in turn.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from _rounds import soak_rounds

from tests.corpus.damage import cut_files, flip_bits, pick_places, silence
from tests.corpus.dicom_damage import HEADERS, PIXELS, UNKNOWABLE, judge_series, make_series
from tests.io.dicom_series import write

COUNT = 1000
SLICES = (2, 0, 5)


def soak_round(folder: Path, seed: int) -> dict[str, tuple[Counter[str], list[str]]]:
    """One series of each modality, one of its files damaged: what became of it."""
    found = {}
    for modality in HEADERS:
        target = write(folder / modality, make_series(modality))[SLICES[seed % len(SLICES)]]
        content = target.read_bytes()
        cuts = cut_files(content, pick_places(len(content), COUNT, seed))
        found[f"{modality} cut"] = judge_series(folder / modality, target, cuts)
        flips = flip_bits(content, pick_places(content.rindex(PIXELS), COUNT, seed), seed)
        least_change = UNKNOWABLE if modality == "PT" else 0.0
        found[f"{modality} flipped"] = judge_series(folder / modality, target, flips, least_change)
    return found


def main() -> int:
    """Run rounds until the time is over; 1 where a damaged series was read as another one without a word."""
    with silence():
        return soak_rounds(__doc__, ("refused", "same", "said", "unnoticed"), soak_round)


if __name__ == "__main__":
    raise SystemExit(main())
