"""The words by which folders and files of masks and images are told."""

from __future__ import annotations

import re

MASK_WORDS = frozenset(
    (
        *("mask", "masks", "seg", "segs", "segm", "segmentation", "segmentations", "label", "labels", "labelmap"),
        *("gt", "groundtruth", "truth", "annotation", "annotations", "reference", "references", "manual", "roi"),
    )
)
IMAGE_WORDS = frozenset(("image", "images", "img", "imgs", "scan", "scans", "volume", "volumes"))
# Masks that say where to look, not what to find.
_HELPER = re.compile(r"brain[ _.-]?mask|body[ _.-]?mask|lung[ _.-]?mask|desc-brain", re.IGNORECASE)


def is_mask_name(stem: str) -> bool:
    """Whether a file's or folder's name, or a part of it between ``_ - .``, is a word for a mask."""
    return not is_helper_mask(stem) and any(part in MASK_WORDS for part in re.split(r"[ _.-]+", stem.lower()))


def is_helper_mask(stem: str) -> bool:
    """Whether a name is that of a brain mask or the like, neither image nor reference."""
    return bool(_HELPER.search(stem))


def split_set(folder: str) -> tuple[str, str]:
    """A folder's word and which part of the data it holds: ``("images", "tr")`` for ``imagesTr``, in lower case."""
    match = re.match(r"^(.*?)[ _.-]?(tr|ts|va|val|train|training|test|testing)?$", folder, re.IGNORECASE)
    if match is None or not match[1]:
        return folder.lower(), ""
    part = (match[2] or "").lower()
    kinds = {"train": "tr", "training": "tr", "test": "ts", "testing": "ts", "val": "va"}
    return match[1].lower(), kinds.get(part, part)


def strip_mask_word(stem: str) -> str:
    """``p01`` for ``p01_mask`` and ``seg-p01``; the stem itself where no word for a mask leads or ends it."""
    words = "|".join(sorted(MASK_WORDS, key=len, reverse=True))
    stripped = re.sub(rf"[ _.-]+(?:{words})$", "", stem, flags=re.IGNORECASE)
    if stripped == stem:
        stripped = re.sub(rf"^(?:{words})[ _.-]+", "", stem, flags=re.IGNORECASE)
    return stripped or stem
