"""BIDS: ``sub-XX[/ses-YY]/anat/*_T1w.nii.gz``, masks in ``derivatives``."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from medseg.core.dataset import Case, Dataset, ImageSource, MaskSource
from medseg.core.errors import DatasetError
from medseg.core.labels import LabelScheme
from medseg.io.files import is_image_name, list_folders, stem_of
from medseg.io.naming import Names
from medseg.io.pairing import common_keys, report_missing_channels
from medseg.io.tables import parse_day, read_table
from medseg.io.words import is_helper_mask

# The folders of BIDS that hold scans of one volume (specification 1.10, "Modality specific files").
_FOLDERS = ("anat", "pet", "ct")
# Suffixes of segmentations (specification 1.10, "Imaging derivatives"), the surest first; ``seg`` is only usual.
_MASK_SUFFIXES = ("dseg", "seg", "mask")
_DAY_COLUMNS = ("day", "days")


def read_bids(root: Path, names: Names) -> Dataset:
    """The data set in a BIDS folder: a case per subject and session; masks may be missing.

    Args:
        root: the folder with ``sub-XX`` folders.
        names: what a ``dataset.json`` beside them says.
    Returns:
        the data set; each subject is a patient, with days from ``*_sessions.tsv`` where it has them.
    Raises:
        FormatError: a table of sessions is damaged.
    """
    problems: list[DatasetError] = []
    images = {case: _list_scans(folder) for case, folder in _list_cases(root).items()}
    masks = _find_masks(root, images)
    usual = common_keys(scans for scans in images.values() if scans)
    cases = []
    for case, scans in sorted(images.items()):
        subject, _, session = case.partition("_ses-")
        missing = [name for name in usual if name not in scans]
        if missing:
            problems.append(report_missing_channels(case, missing, root / subject))
            continue
        try:
            day = _find_day(root / subject, subject, session, case)
        except DatasetError as error:
            problems.append(error)
            continue
        sources = tuple(ImageSource(scans[name]) for name in usual)
        cases.append(Case(case, sources, _pick_mask(masks.get(case, []), case, problems), subject, day))
    ambiguous = {problem.case for problem in problems}
    left_out = sorted({name for scans in images.values() for name in scans} - set(usual))
    return Dataset(
        root=root,
        name=names.name or root.name,
        layout="BIDS",
        cases=tuple(case for case in cases if case.name not in ambiguous),
        channels=names.channels if len(names.channels) == len(usual) else usual,
        labels=names.labels or _read_lookup(root),
        problems=tuple(problems),
        notes=(f"scans that not every case has are left out: {', '.join(left_out)}",) if left_out else (),
    )


def _list_cases(root: Path) -> dict[str, Path]:
    cases = {}
    for subject in list_folders(root):
        if not subject.name.startswith("sub-"):
            continue
        sessions = [folder for folder in list_folders(subject) if folder.name.startswith("ses-")]
        for folder in sessions or [subject]:
            cases[f"{subject.name}_{folder.name}" if sessions else subject.name] = folder
    return cases


def _list_scans(folder: Path) -> dict[str, Path]:
    scans: dict[str, Path] = {}
    for kind in _FOLDERS:
        for path in sorted((folder / kind).glob("*")) if (folder / kind).is_dir() else ():
            parts = stem_of(path).split("_")
            if not is_image_name(path) or parts[-1] in _MASK_SUFFIXES:
                continue
            # Whose, when and which repetition it is does not name a channel; contrast agent, acquisition, ... do.
            named = [part for part in parts if not part.startswith(("sub-", "ses-", "run-"))]
            scans.setdefault("_".join(named), path)
    return scans


def _find_masks(root: Path, cases: dict[str, dict[str, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(root.rglob("sub-*")):
        stem = stem_of(path)
        if not is_image_name(path) or stem.split("_")[-1] not in _MASK_SUFFIXES or is_helper_mask(stem):
            continue
        session = re.match(r"(sub-[^_]+_ses-[^_]+)_", stem)
        subject = re.match(r"(sub-[^_]+)_", stem)
        for match in (session, subject):
            if match is not None and match[1] in cases:
                found[match[1]].append(path)
                break
    return found


def _pick_mask(found: Sequence[Path], case: str, problems: list[DatasetError]) -> MaskSource | None:
    for suffix in _MASK_SUFFIXES:
        fitting = [path for path in found if stem_of(path).split("_")[-1] == suffix]
        if len(fitting) == 1:
            return MaskSource(fitting[0])
        if fitting:
            problems.append(
                DatasetError(
                    f"{len(fitting)} masks: {', '.join(path.name for path in fitting)}",
                    code="ambiguous_mask",
                    case=case,
                    file=fitting[0],
                    remedy="Keep one, or name the mask of each case in a CSV",
                )
            )
            return None
    return None


def _find_day(folder: Path, subject: str, session: str, case: str) -> int | None:
    file = folder / f"{subject}_sessions.tsv"
    if not session or not file.is_file():
        return None
    rows = read_table(file)
    own = next((row for row in rows if row.get("session_id", "").removeprefix("ses-") == session), None)
    if own is None:
        return None
    for column in _DAY_COLUMNS:
        if column in own:
            return parse_day(own[column].replace("n/a", ""), file, case)
    dates = [date for row in rows if (date := _parse_date(row.get("acq_time", ""))) is not None]
    date = _parse_date(own.get("acq_time", ""))
    return None if date is None else (date.date() - min(dates).date()).days


def _parse_date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _read_lookup(root: Path) -> LabelScheme | None:
    # BIDS names the values of a segmentation in a table with the columns index and name.
    for file in sorted((root / "derivatives").rglob("*dseg.tsv")) if (root / "derivatives").is_dir() else ():
        rows = [row for row in read_table(file) if row.get("index", "").isdigit() and row.get("name")]
        named = {row["name"]: int(row["index"]) for row in rows}
        if any(named.values()):
            return LabelScheme.make(named)
    return None
