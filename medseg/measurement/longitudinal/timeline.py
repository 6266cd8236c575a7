"""The table that says which scans are of one patient, and when they were taken: ``case,patient,day,mask,image``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core.dataset import Case, ImageSource, MaskSource
from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.io.files import list_images, stem_of
from medseg.io.tables import parse_day, read_table


@dataclass(frozen=True)
class Scan:
    """One scan of a patient.

    Args:
        case: its name, unique in the timeline.
        patient: whom it belongs to.
        day: days since the patient's first scan; None where the whole patient has none.
        mask: where its mask is.
        image: the image it was drawn on, where there is one.
    """

    case: str
    patient: str
    day: int | None
    mask: MaskSource
    image: Case | None


@dataclass(frozen=True)
class Timeline:
    """What a timeline's table says.

    Args:
        patients: each patient's usable scans, earliest first.
        problems: rows that cannot be used, one error each.
        notes: what was decided while reading, a line each.
    """

    patients: Mapping[str, tuple[Scan, ...]]
    problems: tuple[MedsegError, ...]
    notes: tuple[str, ...] = ()

    @property
    def scans(self) -> tuple[Scan, ...]:
        """Every usable scan, patient by patient."""
        return tuple(scan for scans in self.patients.values() for scan in scans)


def read_timeline(
    file: str | Path, *, masks: Mapping[str, MaskSource] | None = None, images: Mapping[str, Case] | None = None
) -> Timeline:
    """The scans that a timeline names, each patient's in the order of time.

    Args:
        file: CSV with the columns ``case`` and ``patient``, and any of ``day``, ``mask`` and ``image``; paths count
            from its folder. Rows of a patient stand in the order of time.
        masks: where the masks are that the table does not name, by case.
        images: the same for images.
    Returns:
        the timeline. A row without a mask, a row without a day beside rows with one, a day that is no number, and a day
        that lies before or on that of an earlier row are problems; of days in the wrong order as few rows as possible
        are blamed, of two equally good choices the later row. A patient none of whose rows has a day is taken in the
        order of its rows.
    Raises:
        FormatError: the table is missing or damaged.
        DatasetError: a column is missing, or there is no row.
    """
    path = Path(file)
    rows = read_table(path)
    if not rows or not {"case", "patient"} <= rows[0].keys():
        found = f"the columns are {', '.join(rows[0])}" if rows else "there is no row"
        raise DatasetError(
            f"{found}, expected case,patient,day,mask,image", code="bad_timeline", file=path,
            remedy="Give each scan a row with its case and patient",
        )  # fmt: skip
    scans: dict[str, Scan] = {}
    problems: list[MedsegError] = []
    for row in rows:
        try:
            scan = _read_row(row, path, masks or {}, images or {})
            if scan.case in scans:
                raise _refuse("the case stands in two rows", "duplicate_case", scan.case, path, "Keep one of them")
            scans[scan.case] = scan
        except MedsegError as error:
            problems.append(error)
    patients: dict[str, list[Scan]] = {}
    for scan in scans.values():
        patients.setdefault(scan.patient, []).append(scan)
    notes = [
        f"{patient}: no scan has a day; taken in the order of the rows, without doubling times"
        for patient, own in patients.items()
        if len(own) > 1 and all(scan.day is None for scan in own)
    ]
    kept = {patient: _put_in_order(own, path, problems) for patient, own in patients.items()}
    return Timeline({patient: own for patient, own in kept.items() if own}, tuple(problems), tuple(notes))


def _read_row(row: Mapping[str, str], file: Path, masks: Mapping[str, MaskSource], images: Mapping[str, Case]) -> Scan:
    case = row["case"]
    if not case or Path(case).name != case or case.startswith("."):
        raise _refuse(f"{case!r} is no name for a case", "bad_name", case, file, "Use letters, digits, _ and -")
    if not row["patient"]:
        raise _refuse("the row names no patient", "missing_patient", case, file, "Fill in the column patient")
    mask = _find_mask(file.parent / row["mask"], case) if row.get("mask") else masks.get(case)
    if mask is None:
        remedy = "Fill in the column mask, or give a folder of masks that holds the case"
        raise _refuse("no mask is named and none is called so", "missing_mask", case, file, remedy)
    day = parse_day(row.get("day", ""), file, case)
    image = images.get(case)
    if row.get("image"):
        place = file.parent / row["image"]
        if not place.exists():
            raise _refuse("the image that the timeline names is not there", "missing_image", case, place, "Correct it")
        image = Case(case, (ImageSource(place),))
    return Scan(case, row["patient"], day, mask, image)


def _find_mask(path: Path, case: str) -> MaskSource:
    if path.is_dir():
        return MaskSource(path, tuple((stem_of(file), file) for file in list_images(path)))
    if not path.exists():
        reason = "the mask that the timeline names is not there"
        raise FormatError(reason, code="missing_mask", case=case, file=path, remedy="Correct the path")
    return MaskSource(path)


def _put_in_order(scans: Sequence[Scan], file: Path, problems: list[MedsegError]) -> tuple[Scan, ...]:
    # The rows whose days rise; the others go to the problems.
    dated = [(scan, scan.day) for scan in scans if scan.day is not None]
    if not dated:
        return tuple(scans)
    remedy = "Fill in the day, or leave out the days of all scans of this patient"
    problems += [
        _refuse(f"the day is missing, other scans of {scan.patient} have one", "missing_day", scan.case, file, remedy)
        for scan in scans
        if scan.day is None
    ]
    rising = _find_rising([day for _, day in dated])
    for index, (scan, day) in enumerate(dated):
        if index in rising:
            continue
        same = next((other for other in rising if dated[other][1] == day), None)
        reason = f"day {day} stands out of order among {', '.join(str(day) for _, day in dated)} of {scan.patient}"
        if same is not None:
            reason = f"day {day} is that of {dated[same][0].case} too"
        code = "day_order" if same is None else "same_day"
        problems.append(_refuse(reason, code, scan.case, file, "Correct the day, or move the row where it belongs"))
    return tuple(dated[index][0] for index in sorted(rising))


def _find_rising(days: Sequence[int]) -> set[int]:
    # A longest strictly rising selection of rows: the lowest last day of each length (patience sorting). The first
    # selection of each length is kept, so that of equally good ones the earlier rows stay.
    lasts: list[int] = []
    before: dict[int, int | None] = {}
    ends: list[int] = []
    best: list[int] = []
    for index, day in enumerate(days):
        place = bisect_left(lasts, day)
        if lasts[place : place + 1] == [day]:
            continue
        before[index] = ends[place - 1] if place else None
        longer = place == len(lasts)
        lasts[place : place + 1] = [day]
        ends[place : place + 1] = [index]
        if longer:
            best = _walk_back(index, before)
    return set(best)


def _walk_back(index: int | None, before: Mapping[int, int | None]) -> list[int]:
    found = []
    while index is not None:
        found.append(index)
        index = before[index]
    return found


def _refuse(reason: str, code: str, case: str, file: Path, remedy: str) -> DatasetError:
    return DatasetError(reason, code=code, case=case or None, file=file, remedy=remedy)
