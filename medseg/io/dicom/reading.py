"""How one command reads DICOM masks and scans: where they are, which structures are wanted, what is accepted of grids.

Importing this module loads no DICOM library, as folders of other files need none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.core.errors import DatasetError, show_name
from medseg.core.labels import LabelScheme
from medseg.io.dicom.recognition import is_dicom_tree
from medseg.io.dicom.roi_names import RoiRules, match_labels, read_roi_rules

if TYPE_CHECKING:
    from medseg.io.dicom.series import DicomSeries, DicomTree


@dataclass(frozen=True, eq=False)
class DicomReading:
    """How DICOM masks and scans are read by one command.

    Args:
        scans: further places where the scans may be that masks were drawn on; those that are no DICOM are left out.
        rules: which structure is which label; those that are called as the label where None.
        labels: whose structures are wanted where there are no rules; all where None.
        tilt, gaps: as ``read_series`` takes them.
        trees: what was found so far, by place: each is walked once.
    """

    scans: tuple[Path, ...] = ()
    rules: RoiRules | None = None
    labels: LabelScheme | None = None
    tilt: str = "refuse"
    gaps: str = "refuse"
    trees: dict[Path, DicomTree] = field(default_factory=dict)

    @property
    def wanted(self) -> RoiRules | None:
        """The rules, or those that the labels' names make; None where every structure is wanted."""
        return self.rules or (None if self.labels is None else match_labels(self.labels))

    @property
    def stated(self) -> LabelScheme | None:
        """The labels of the rules; None where there are none."""
        return None if self.rules is None else self.rules.scheme

    def with_places(self, labels: LabelScheme | None, *places: str | Path) -> DicomReading:
        """The same reading, for labels that are known and with further places where scans may be.

        Args:
            labels: of the command; the rules' own where None.
            places: folders of any kind.
        Returns:
            the reading.
        Raises:
            DatasetError: there are rules for other labels than these.
        """
        if self.rules is not None and labels is not None and set(labels.names) != set(self.rules.labels):
            raise DatasetError(
                f"rules for {', '.join(self.rules.labels)}, expected labels {', '.join(labels.names)}",
                code="bad_labels", remedy="Name the same labels in rois.json",
            )  # fmt: skip
        return replace(
            self, labels=labels or self.stated, scans=tuple(dict.fromkeys((*self.scans, *map(Path, places))))
        )

    def open_tree(self, place: Path) -> DicomTree:
        """The series of a place; raises DatasetError where there is nothing."""
        from medseg.io.dicom.grouping import find_series

        if place not in self.trees:
            self.trees[place] = find_series(place)
        return self.trees[place]

    def list_scans(self, place: Path) -> list[DicomSeries]:
        """The series of images of a place and of ``scans``; of copies the first."""
        found: dict[tuple[str, str], DicomSeries] = {}
        for where in dict.fromkeys((place, *self.scans)):
            if where == place or where in self.trees or is_dicom_tree(where):
                for series in self.open_tree(where).images:
                    found.setdefault((series.series_uid, series.part), series)
        return list(found.values())

    def describe(self, used: Collection[Path]) -> dict[str, Any]:
        """What ``run.json`` says of DICOM: options, and of every tree which files were used and why others were not.

        Args:
            used: the files that results come from.
        Returns:
            ``settings`` and ``dicom``, a count of files a tree; empty where no tree was read.
        """
        if not self.trees:
            return {}
        accepted = {"tilt": self.tilt, "gaps": self.gaps}
        return {"settings": accepted, "dicom": [account_files(tree, used) | accepted for tree in self.trees.values()]}


def recall_reading(run: Mapping[str, Any], labels: str | Path | None = None) -> DicomReading:
    """A reading that accepts of grids what an earlier command accepted, so that scans lie as their masks do.

    Args:
        run: the content of its ``run.json``.
        labels: a ``rois.json`` that says which structures are which label; those that are called as the label where
            None.
    Returns:
        the reading; one that accepts nothing where the run read no DICOM.
    Raises:
        FormatError: ``labels`` is no such file.
    """
    noted = run.get("dicom")
    entry = noted[0] if isinstance(noted, list) and noted and isinstance(noted[0], dict) else {}
    return DicomReading(
        rules=None if labels is None else read_roi_rules(labels),
        tilt="resample" if entry.get("tilt") == "resample" else "refuse",
        gaps="interpolate" if entry.get("gaps") == "interpolate" else "refuse",
    )


def account_files(tree: DicomTree, used: Collection[Path], reasons: Mapping[int, str] | None = None) -> dict[str, Any]:
    """How many files of a tree were used, and how many not, by reason; every file is counted once.

    Args:
        tree: as ``find_series`` gives it.
        used: the files that results come from.
        reasons: why a series is not used, by its ``id``, where that is known.
    Returns:
        ``root``, ``files``, ``used`` and ``unused``, a list of counts with their reasons that with ``used`` make up
        ``files``.
    """
    counted: set[Path] = set()
    counts: Counter[str] = Counter()
    for series in tree.series:
        files = set(series.files) - counted
        counted |= files
        left = len(files - set(used))
        if left:
            counts[(reasons or {}).get(id(series)) or _name_reason(series)] += left
    for path, reason in tree.unused:
        if path not in counted:
            counts["a copy of another file" if reason.startswith("a copy of ") else reason] += 1
            counted.add(path)
    unused = [{"files": count, "reason": reason} for reason, count in counts.most_common()]
    return {
        "root": show_name(str(tree.root)),
        "files": tree.file_count,
        "used": tree.file_count - sum(counts.values()),
        "unused": unused,
    }


def _name_reason(series: DicomSeries) -> str:
    if series.problem is not None:
        return series.problem.reason
    return "a scan that no result comes from" if series.kind == "image" else "a reference that no result comes from"
