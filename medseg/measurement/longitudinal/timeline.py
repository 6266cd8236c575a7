"""The table that says which scans are of one patient, and when they were taken: ``case,patient,day,mask,image``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medseg.core.dataset import Case, ImageSource, MaskSource
from medseg.core.errors import DatasetError, FormatError, MedsegError
from medseg.io import find_images, find_masks
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.recognition import is_dicom_tree
from medseg.io.files import list_images, stem_of
from medseg.io.tables import parse_day, read_table

_COLUMNS = ("case", "patient", "day", "mask", "image")


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
        rows: each patient's cases as the table names them, usable or not, in its order.
    """

    patients: Mapping[str, tuple[Scan, ...]]
    problems: tuple[MedsegError, ...]
    notes: tuple[str, ...] = ()
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def scans(self) -> tuple[Scan, ...]:
        """Every usable scan, patient by patient."""
        return tuple(scan for scans in self.patients.values() for scan in scans)

    def filled(self) -> Timeline:
        """The same timeline, the NaN and infinite voxels of whose images are filled instead of refused."""
        patients = {patient: tuple(map(_fill, scans)) for patient, scans in self.patients.items()}
        return replace(self, patients=patients)


def _fill(scan: Scan) -> Scan:
    return scan if scan.image is None else replace(scan, image=replace(scan.image, fill_nonfinite=True))


def read_timeline(
    file: str | Path,
    *,
    masks: Mapping[str, MaskSource] | None = None,
    images: Mapping[str, Case] | None = None,
    dicom: DicomReading | None = None,
) -> Timeline:
    """The scans that a timeline names, each patient's in the order of time.

    Args:
        file: CSV with the columns ``case`` and ``patient``, and any of ``day``, ``mask`` and ``image``; paths count
            from its folder. Rows of a patient stand in the order of time. A mask may be a SEG or RTSTRUCT, an image the
            folder of its DICOM series.
        masks: where the masks are that the table does not name, by case.
        images: the same for images.
        dicom: how masks and images that are DICOM are read.
    Returns:
        the timeline. A row without a mask, one whose mask another row has, a row without a day beside rows with one, a
        day that is no number, and a day that lies before or on that of an earlier row are problems; of days in the
        wrong order as few rows as possible are blamed, of two equally good choices the later row. A patient none of
        whose rows has a day is taken in the order of its rows.
    Raises:
        FormatError: the table is missing or damaged.
        DatasetError: a column is missing, or there is no row.
    """
    path = Path(file)
    rows = read_table(path)
    if not rows or not {"case", "patient"} <= rows[0].keys():
        found = f"the columns are {', '.join(rows[0])}" if rows else "there is no row"
        raise DatasetError(
            f"{found}, expected {','.join(_COLUMNS)}", code="bad_timeline", file=path,
            remedy="Give each scan a row with its case and patient",
        )  # fmt: skip
    scans: dict[str, Scan] = {}
    problems: list[MedsegError] = []
    named: dict[str, list[str]] = {}
    owners: dict[Path, str] = {}
    for row in rows:
        try:
            named.setdefault(row["patient"], []).append(row["case"])
            scan = _read_row(row, path, masks or {}, images or {}, dicom or DicomReading())
            if scan.case in scans:
                raise _refuse("the case stands in two rows", "duplicate_case", scan.case, path, "Keep one of them")
            owner = owners.setdefault(scan.mask.path.resolve(), scan.case)
            if owner != scan.case:
                reason = f"its mask, {scan.mask.path}, is that of {owner} too"
                raise _refuse(reason, "same_mask", scan.case, path, "Give each scan its own mask")
            scans[scan.case] = scan
        except MedsegError as error:
            problems.append(error)
    patients: dict[str, list[Scan]] = {}
    for scan in scans.values():
        patients.setdefault(scan.patient, []).append(scan)
    kept = {patient: _put_in_order(own, path, problems) for patient, own in patients.items()}
    listed = {patient: tuple(dict.fromkeys(cases)) for patient, cases in named.items()}
    usable = {patient: own for patient, own in kept.items() if own}
    return Timeline(usable, tuple(problems), _list_notes(path, rows, masks or {}, patients), listed)


def _list_notes(
    file: Path, rows: Sequence[Mapping[str, str]], masks: Iterable[str], patients: Mapping[str, Sequence[Scan]]
) -> tuple[str, ...]:
    others = [column for column in rows[0] if column and column not in _COLUMNS]
    notes = [f"{file}: not read: {', '.join(others)}; the columns are {','.join(_COLUMNS)}"] if others else []
    unnamed = sorted(set(masks) - {row["case"] for row in rows})
    notes += [f"{file}: no row for the masks {', '.join(unnamed)}; they are left out"] if unnamed else []
    notes += [
        f"{patient}: no scan has a day; taken in the order of the rows, without doubling times"
        for patient, own in patients.items()
        if len(own) > 1 and all(scan.day is None for scan in own)
    ]
    return tuple(notes)


def _read_row(
    row: Mapping[str, str],
    file: Path,
    masks: Mapping[str, MaskSource],
    images: Mapping[str, Case],
    dicom: DicomReading,
) -> Scan:
    case = row["case"]
    if not case or Path(case).name != case or case.startswith("."):
        raise _refuse(f"{case!r} is no name for a case", "bad_name", case, file, "Use letters, digits, _ and -")
    if not row["patient"]:
        raise _refuse("the row names no patient", "missing_patient", case, file, "Fill in the column patient")
    place = file.parent / row["image"] if row.get("image") else None
    mask = _find_mask(file.parent, row["mask"], case, place, dicom) if row.get("mask") else masks.get(case)
    if mask is None:
        remedy = "Fill in the column mask, or give a folder of masks that holds the case"
        raise _refuse("no mask is named and none is called so", "missing_mask", case, file, remedy)
    day = parse_day(row.get("day", ""), file, case)
    image = images.get(case)
    if place is not None:
        if not place.exists():
            reason, remedy = (
                "the image that the timeline names is not there",
                f"Give its path from {file.parent.absolute()} on",
            )
            raise _refuse(reason, "missing_image", case, place, remedy)
        image = _find_image(place, case, dicom)
    return Scan(case, row["patient"], day, mask, image)


def _find_image(place: Path, case: str, dicom: DicomReading) -> Case:
    if not is_dicom_tree(place):
        return Case(case, (ImageSource(place),))
    found = list(find_images(place, dicom=dicom).values())
    if len(found) != 1:
        reason = f"the image that the timeline names is {len(found)} DICOM series, expected one"
        raise _refuse(reason, "ambiguous_series", case, place, "Name the folder of one series")
    return replace(found[0], name=case)


def _find_mask(folder: Path, name: str, case: str, image: Path | None, dicom: DicomReading) -> MaskSource:
    path = folder / name
    if is_dicom_tree(path):
        places = [image] if image is not None and image.exists() else []
        try:
            found = list(find_masks(path, dicom=dicom.with_places(dicom.labels, *places)).values())
        except MedsegError as error:
            error.case = case  # it knows the file alone
            raise
        if len(found) != 1:
            reason = f"the mask that the timeline names is {len(found)} DICOM masks, expected one"
            raise _refuse(reason, "ambiguous_mask", case, path, "Name the file of one mask")
        return found[0]
    if path.is_dir():
        return MaskSource(path, tuple((stem_of(file), file) for file in list_images(path)))
    if not path.exists():
        reason = "the mask that the timeline names is not there"
        raise FormatError(
            reason, code="missing_mask", case=case, file=path, remedy=f"Give its path from {folder.absolute()} on"
        )
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
    # The longest strictly rising selection of rows; of equally long ones that which keeps the earliest rows.
    lengths = [1] * len(days)
    for index in reversed(range(len(days))):
        lengths[index] += max((lengths[n] for n in range(index + 1, len(days)) if days[n] > days[index]), default=0)
    kept: list[int] = []
    for index, day in enumerate(days):
        wanted = max(lengths) - len(kept)
        if lengths[index] == wanted and (not kept or day > days[kept[-1]]):
            kept.append(index)
    return set(kept)


def _refuse(reason: str, code: str, case: str, file: Path, remedy: str) -> DatasetError:
    return DatasetError(reason, code=code, case=case or None, file=file, remedy=remedy)
