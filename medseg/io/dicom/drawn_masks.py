"""RTSTRUCT and SEG as masks to score and to measure, each on the series that it was drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.core.dataset import MaskSource
from medseg.core.errors import DatasetError, MedsegError, show_name
from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.io.dicom.import_plan import number_patients
from medseg.io.dicom.kinds import CONTOURS, IMAGE
from medseg.io.dicom.read import locate_series
from medseg.io.dicom.reading import DicomReading
from medseg.io.dicom.references import (
    Reference,
    choose_references,
    draw_references,
    find_drawn_on,
    read_reference,
    refuse_several,
)
from medseg.io.dicom.roi_names import RoiRules, match_labels
from medseg.io.dicom.scans import name_case
from medseg.io.dicom.seg_read import read_seg_mask
from medseg.io.dicom.series import DicomSeries

# What ``medseg predict`` puts between a case's name and ``.dcm``, the best first: the mask beside probabilities; the
# mask or the probabilities; contours.
_WRITTEN = (".mask.seg", ".seg", ".rtstruct")


@dataclass(frozen=True, eq=False)
class SeriesDrawing:
    """The references of one series, drawn on it.

    Args:
        references: one, or several that the rules unite.
        series: the scan.
        reading: how to read them.
        patient, day: whose scan it is and when it was taken, by numbers.
    """

    references: tuple[Reference, ...]
    series: DicomSeries
    reading: DicomReading
    patient: str = ""
    day: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parts that can be drawn."""
        return tuple(
            name
            for one in self.references
            for name, is_drawn in zip(one.names, one.drawn, strict=True)
            if is_drawn
        )  # fmt: skip

    @property
    def files(self) -> tuple[Path, ...]:
        """The references and the series' files."""
        return (*(one.path for one in self.references), *self.series.files)

    def draw(self, labels: LabelScheme | None, like: Geometry | None) -> tuple[Segmentation, tuple[str, ...]]:
        """The label map on the series' own grid, and what is doubtful."""
        try:
            source, notes = locate_series(self.series, tilt=self.reading.tilt, gaps=self.reading.gaps)
        except MedsegError as error:
            error.case = None  # the series calls itself by its description, the reader knows the case
            raise
        rules = self.reading.rules
        if rules is None and len(self.references) == 1 and self.references[0].kind != CONTOURS:
            mask = read_seg_mask(self.references[0].path, labels=labels, like=source.geometry)
            return mask.segmentation, (*notes, *mask.notes)
        scheme = labels or (rules.scheme if rules is not None else name_labels(self.names))
        rules = rules or match_labels(scheme)
        segmentation, uses, more = draw_references(self.references, rules, source, scheme=scheme)
        left = [repr(use.name) for use in uses if use.reason == "matches no label's pattern"]
        said = [f"structures of no label, left out: {', '.join(left)}"] if left else []
        if len(self.references) > 1:
            said.append(f"{len(self.references)} references united, as the rules say")
        return segmentation, (*notes, *more, *said)


@dataclass(frozen=True, eq=False)
class SegDrawing:
    """A SEG that is read without the scan that it was drawn on.

    Args:
        path: the file.
        names: of its segments.
    """

    path: Path
    names: tuple[str, ...]
    patient: str = ""
    day: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def draw(self, labels: LabelScheme | None, like: Geometry | None) -> tuple[Segmentation, tuple[str, ...]]:
        """The label map on the grid ``like``, else on the smallest that holds its frames, and what was decided."""
        mask = read_seg_mask(self.path, labels=labels, like=like)
        return mask.segmentation, mask.notes


def name_labels(names: Sequence[str]) -> LabelScheme:
    """Labels called as structures are, with the values 1, 2, ... in the order of their names; capitals count alike.

    Args:
        names: of structures of any files.
    Returns:
        the scheme.
    Raises:
        DatasetError: there is no name.
    """
    distinct: dict[str, str] = {}
    for name in sorted(filter(None, map(str.strip, names))):
        distinct.setdefault(name.casefold(), show_name(name))
    return LabelScheme.make({name: value for value, name in enumerate(distinct.values(), start=1)})


def find_dicom_masks(
    path: str | Path, reading: DicomReading, problems: list[MedsegError] | None = None
) -> dict[str, MaskSource]:
    """The masks of a tree of DICOM files, by case.

    Args:
        path: a tree with RTSTRUCT or SEG, or one such file; the scans in it are those that they were drawn on.
        reading: where else scans are, and which structures are wanted.
        problems: where to put references that cannot be used; the first is raised where None.
    Returns:
        each case's mask, by the name that ``medseg predict`` gives the series that it was drawn on; a SEG whose series
        is not there is called after its file.
    Raises:
        DatasetError: there is neither RTSTRUCT nor SEG.
    """
    root, found = Path(path), list[MedsegError]()
    tree = reading.open_tree(root)
    scans = reading.list_scans(root)
    references = [(header, entry) for entry in tree.series if entry.kind != IMAGE for header in entry.planes]
    if not references:
        raise DatasetError(
            f"no RTSTRUCT and no SEG among {tree.file_count} DICOM files", code="no_masks", file=root,
            remedy="Give the folder that holds the masks",
        )  # fmt: skip
    groups, masks = dict[int, tuple[DicomSeries, list[Reference]]](), dict[str, MaskSource]()
    best = _choose_written([header.path for header, _ in references])
    for header, entry in references:
        if header.path not in best:
            continue
        try:
            if entry.problem is not None:
                raise entry.problem
            reference = read_reference(header, entry.kind)
            series = _find_scan(reference, scans)
            if series is not None:
                groups.setdefault(id(series), (series, []))[1].append(reference)
            elif masks.setdefault(_split_name(reference.path)[0], one := _name_seg(reference)) is not one:
                raise DatasetError("two files are called so", code="duplicate_case", file=reference.path)
        except MedsegError as error:
            error.file = error.file or show_name(str(header.path))
            found.append(error.for_case(show_name(header.path.name)))
    people = {id(series): (patient, day) for series, patient, day in number_patients(scans)}
    for series, drawn in groups.values():
        name = name_case(series)
        try:
            chosen = _choose(drawn, reading)
            files = tuple((show_name(one.path.name), one.path) for one in chosen) if len(chosen) > 1 else ()
            drawing = SeriesDrawing(tuple(chosen), series, reading, *people[id(series)])
            masks[name] = MaskSource(chosen[0].path, files, drawing)
        except MedsegError as error:
            found.append(error.for_case(name))
    if problems is None and found:
        raise found[0]
    if problems is not None:
        problems += found
    return dict(sorted(masks.items()))


def _find_scan(reference: Reference, scans: Sequence[DicomSeries]) -> DicomSeries | None:
    """The series of a reference; None for a SEG whose series is not there, as it has a grid of its own."""
    try:
        return find_drawn_on(reference, scans)
    except DatasetError as error:
        if error.code != "no_series":
            raise
        if reference.kind != CONTOURS:
            return None
        error.remedy = "Say where the scan is that it was drawn on with --images TREE"
        raise


def _name_seg(reference: Reference) -> MaskSource:
    return MaskSource(reference.path, drawing=SegDrawing(reference.path, reference.names))


def _split_name(path: Path) -> tuple[str, int]:
    """The case's name in that of a file, and which of the forms that ``medseg predict`` writes it is."""
    for rank, ending in enumerate(_WRITTEN):
        if path.stem.endswith(ending):
            return path.stem.removesuffix(ending), rank
    return path.stem, len(_WRITTEN)


def _choose_written(paths: Sequence[Path]) -> set[Path]:
    """The files without those that hold a mask in another form than one beside them: each mask counts once."""
    best: dict[tuple[Path, str], tuple[int, Path]] = {}
    others: set[Path] = set()
    for path in paths:
        name, rank = _split_name(path)
        if rank == len(_WRITTEN):
            others.add(path)
        else:
            key = (path.parent, name)
            best[key] = min(best.get(key, (rank, path)), (rank, path))
    return others | {path for _, path in best.values()}


def _choose(references: Sequence[Reference], reading: DicomReading) -> list[Reference]:
    """Those of a series' references that are wanted; raises DatasetError where that is none, or not clear."""
    rules = reading.wanted
    if rules is None:
        refuse_several(references, None)
        return list(references)
    each = _unite_all(rules)
    chosen = [one for one in references if any(choose_references([one], each).labels.values())]
    if not chosen:
        names = dict.fromkeys(repr(show_name(name)) for one in references for name in one.names)
        raise DatasetError(
            f"no structure matches a label ({', '.join(map(repr, rules.labels))}); there are {', '.join(names)}",
            code="no_structure", file=references[0].path,
            remedy="Say which structure is which label with --labels rois.json; import-dicom drafts one",
        )  # fmt: skip
    refuse_several(chosen, reading.rules)
    return chosen


def _unite_all(rules: RoiRules) -> RoiRules:
    """The rules with every label united: what is wanted at all is asked before whether it may be several."""
    return rules.model_copy(
        update={"labels": {name: rule.model_copy(update={"several": "unite"}) for name, rule in rules.labels.items()}}
    )
