"""Following lesions from a patient's earlier studies: which masks are earlier, and in which order cases are done."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.core.dataset import Case
from medseg.core.errors import DatasetError, MedsegError
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation, Volume
from medseg.inference.folders.lesion_names import EarlierScan, LesionNames, name_lesions
from medseg.inference.folders.writing import MASK_APART, OBJECTS
from medseg.io.dicom.source import DicomSource

if TYPE_CHECKING:
    from medseg.inference.folders.finished import Part
    from medseg.inference.folders.objects import ObjectOptions
    from medseg.io.dicom.earlier import EarlierMask
    from medseg.io.dicom.scans import DicomScans  # which loads pydicom
    from medseg.io.dicom.series import DicomSeries

_ENDINGS = (OBJECTS["dicom-seg"], MASK_APART)


class Following:
    """Earlier masks of the patients of a run: those that stood somewhere before, and those that it writes itself.

    Args:
        place: a folder of an earlier run, or a SEG; the run's own folder where a tree holds earlier studies too.
        output: the run's folder.
        scans: the run's cases.
    Raises:
        DatasetError: there is no such place, or no SEG in it that names lesions and is not one of this run's own.
    """

    def __init__(self, place: Path, output: Path, scans: DicomScans) -> None:
        from medseg.io.dicom.earlier import list_segmentations, read_earlier_mask

        self.output, self.scans = output, scans
        own = {(output / f"{name}{ending}").resolve() for name in scans.series for ending in _ENDINGS}
        is_own_folder = place.resolve() == output.resolve()
        found = {} if is_own_folder and not place.exists() else list_segmentations(place)
        masks = ((read_earlier_mask(path), digest) for path, digest in found.items() if path.resolve() not in own)
        self.known = {mask: digest for mask, digest in masks if mask is not None}
        if not self.known and not is_own_folder:
            raise DatasetError(
                f"{len(found)} SEG, none of which names lesions that could be followed", code="no_masks", file=place,
                remedy="Give the folder of a run with --format sr, or a SEG whose segments have tracking identifiers",
            )  # fmt: skip
        self._redone: set[str] = set()

    def put_in_order(self, cases: Iterable[Case]) -> list[Case]:
        """The cases patient by patient, each one's studies in the order of time."""

        def find_place(case: Case) -> tuple[str, str, float, str]:
            plane = self.scans.series[case.name][0].planes[0]
            return plane.patient[0], plane.study_date, plane.moment.time_s or 0.0, case.name

        return sorted(cases, key=find_place)

    def list_inputs(self, case: Case) -> tuple[Path, ...]:
        """The files that a case's names of lesions may be taken from, besides those that the run itself writes."""
        patient = self._find_patient(case.name)
        return tuple(mask.path for mask, digest in self.known.items() if digest == patient)

    def _find_patient(self, case: str) -> str:
        return self.scans.series[case][0].planes[0].patient[0]

    def note_reading(self, case: Case, is_finished: bool) -> bool:
        """Whether what an earlier run did of a case still holds: not where an earlier study is done again.

        Args:
            case: the next one, in the order of ``put_in_order``.
            is_finished: whether the record says that it was done.
        Returns:
            whether it need not be done again.
        """
        patient = self._find_patient(case.name)
        if is_finished and patient not in self._redone:
            return True
        self._redone.add(patient)
        return False

    def name(
        self, case: str, mask: Segmentation, labels: LabelScheme, image: Volume, source: DicomSource
    ) -> LesionNames:
        """Name the lesions of a case after those of the patient's earlier studies.

        Args:
            case: its name; the run's earlier cases are written by now.
            mask: of the case.
            labels: what its values mean.
            image: the scan, one channel.
            source: the series.
        Returns:
            the names; none but a note where there is nothing to follow.
        Raises:
            FormatError: the series cannot be read again.
        """
        from medseg.io.dicom.identity import name_patient, read_identity

        header = read_identity(source)
        patient = name_patient(header)
        masks, reason = self._choose(case, patient, header, source)
        notes: list[str] = []
        scans = [scan for earlier in masks if (scan := self._open(earlier, labels, notes)) is not None]
        if not scans:
            return LesionNames(notes=[*notes, f"its lesions have identifiers of their own: {reason}"])
        found = name_lesions(mask, labels, image, scans, (patient, source.series_uid))
        return LesionNames(found.lesions, [*notes, *found.notes])

    def _choose(self, case: str, patient: str, header: object, source: DicomSource) -> tuple[list[EarlierMask], str]:
        """One mask of each earlier study of the patient, the earliest first, and why there is none."""
        from medseg.io.dicom.earlier import read_earlier_mask, read_moment

        if not patient:
            return [], "the scan names no patient"
        digest = self._find_patient(case)
        others = (name for name in self.scans.series if name != case and self._find_patient(name) == digest)
        written = (self.output / f"{name}{ending}" for name in others for ending in _ENDINGS)
        own = [mask for path in written if path.is_file() and (mask := read_earlier_mask(path)) is not None]
        of_patient = [mask for mask in (*self.known, *own) if mask.patient == patient]
        moment = read_moment(header)
        if of_patient and not moment.date:
            return [], "its study states no date"
        earlier = [mask for mask in of_patient if mask.moment.is_before(moment) and mask.study_uid != source.study_uid]
        by_study: dict[str, list[EarlierMask]] = {}
        for mask in sorted(earlier, key=lambda mask: (mask.moment.date, mask.moment.time)):
            by_study.setdefault(mask.study_uid, []).append(mask)
        several = [masks for masks in by_study.values() if len(masks) > 1]
        if several:
            names = ", ".join(mask.path.name for mask in several[0])
            return [], f"an earlier study has {len(several[0])} masks ({names}); name the one to follow with --follow"
        return [masks[0] for masks in by_study.values()], "no earlier mask of its patient names lesions of these labels"

    def _open(self, mask: EarlierMask, labels: LabelScheme, notes: list[str]) -> EarlierScan | None:
        from medseg.io.dicom.earlier import find_drawn_series, read_named_lesions

        try:
            lesions = read_named_lesions(mask, labels.names)
        except MedsegError as error:
            notes.append(f"lesions do not go on from {mask.path.name}: {error.reason}")
            return None
        own = (one for chosen in self.scans.series.values() for one in chosen if one.series_uid in mask.series_uids)
        series = next(own, None) or find_drawn_series(mask)
        read_image = None if series is None else partial(_read_image, series, self.scans)
        return EarlierScan(mask.path.name, lesions, read_image) if lesions else None


def _read_image(series: DicomSeries, scans: DicomScans) -> Volume:
    from medseg.io.dicom.read import read_series

    return read_series(series, tilt=scans.tilt, gaps=scans.gaps)[0]


def begin_following(
    options: ObjectOptions, output: Path, scans: DicomScans | None, cases: list[Case], part: Part | None
) -> tuple[Following | None, list[Case]]:
    """The earlier masks that a run follows, and its cases in the order in which they are then done.

    Args:
        options: of the run's objects.
        output: the run's folder.
        scans: its cases' series.
        cases: to do.
        part: which part of the cases this process does.
    Returns:
        None and the cases as they are where no lesions are followed.
    Raises:
        DatasetError: there are no such masks, or several processes share the folder.
    """
    if options.follow is None or scans is None:
        return None, cases
    if part is not None:
        raise DatasetError(
            "--follow needs a patient's studies one after another, and --part divides them among processes",
            code="bad_option", remedy="Leave out --part",
        )  # fmt: skip
    following = Following(options.follow, output, scans)
    return following, following.put_in_order(cases)
