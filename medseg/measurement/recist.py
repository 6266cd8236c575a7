"""The arithmetic of RECIST 1.1: target lesions, the sum of their diameters, and the category that follows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Eisenhauer et al., Eur J Cancer 2009;45:228-247: sections 3.1 (measurable), 4.1 (targets) and 4.3.1 (response).
LEAST_DIAMETER_MM = 10.0
# Section 3.1: "thin" slices are at most this thick; of thicker ones a lesion has to span twice the thickness.
THIN_SLICE_MM, LEAST_SLICES = 5.0, 2.0
LEAST_NODE_MM, NORMAL_NODE_MM = 15.0, 10.0  # short axis
MOST_TARGETS, MOST_PER_ORGAN = 5, 2
RESPONSE_PERCENT, PROGRESSION_PERCENT, PROGRESSION_MM = 30.0, 20.0, 5.0
# Sums that differ by rounding alone are the same.
_ROUNDING = 1e-9

CANNOT_KNOW = (
    "which lesions a reader would have chosen as targets: here the largest, or those of --targets",
    "non-target lesions, and whether they progress",
    "whether a new component is an unequivocal new lesion; those found are listed and do not change the category",
    "which component is a tumour, a cyst, a treated lesion, or a lymph node that no label calls so",
    "whether a response was confirmed",
    "whether a lesion too small to measure is still there: RECIST notes 5 mm for it, here the mask's diameter counts",
)
_LESION_WORDS = re.compile(
    r"tumou?r|lesion|metasta|cancer|carcinoma|sarcoma|lymphoma|glioma|melanoma|nodule|node|gtv|mass", re.IGNORECASE
)
_NODE_WORDS = re.compile(r"lymph|\bnodes?\b|nodal|(?<![a-z])ln(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A lesion of the first scan that may be a target.

    Args:
        lesion_id, label: of the timeline; the label stands for the organ.
        longest_mm: longest axial diameter.
        short_mm: its perpendicular.
        slice_mm: the distance of the axial slices; 0 for a picture, or where it is not known.
    """

    lesion_id: str
    label: str
    longest_mm: float
    short_mm: float
    slice_mm: float = 0.0

    @property
    def is_node(self) -> bool:
        """Whether the label names lymph nodes, which are measured by their short axis."""
        return is_node(self.label)

    @property
    def size_mm(self) -> float:
        """The diameter that counts."""
        return self.short_mm if self.is_node else self.longest_mm

    @property
    def organ(self) -> str:
        """What counts as one organ: its label; all lymph nodes are one (EORTC, RECIST 1.1 questions)."""
        return "lymph nodes" if self.is_node else self.label

    @property
    def least_mm(self) -> float:
        """How large a target has to be: more in thick slices, but for lymph nodes."""
        if self.is_node:
            return LEAST_NODE_MM
        return max(LEAST_DIAMETER_MM, LEAST_SLICES * self.slice_mm if self.slice_mm > THIN_SLICE_MM else 0.0)

    @property
    def is_measurable(self) -> bool:
        """Whether it is large enough for a target."""
        return self.size_mm >= self.least_mm


@dataclass(frozen=True)
class Response:
    """One scan's sum of target diameters, and what follows from it.

    Args:
        sum_mm: the sum.
        percent_from_baseline: its change against the first scan; None where that sum is 0.
        nadir_mm: the smallest earlier sum; None for the first scan.
        percent_from_nadir: its change against that; None where that is 0 or there is none.
        category: ``CR PR SD PD``; ``baseline`` for the first scan.
        rule: which rule fired, with its numbers.
    """

    sum_mm: float
    percent_from_baseline: float | None
    nadir_mm: float | None
    percent_from_nadir: float | None
    category: str
    rule: str


def is_node(label: str) -> bool:
    """Whether a label's name says that its lesions are lymph nodes."""
    return bool(_NODE_WORDS.search(label.replace("_", " ")))


def find_lesion_labels(labels: Sequence[str]) -> list[str]:
    """The labels whose components can be target lesions.

    Args:
        labels: the names of a label scheme.
    Returns:
        those with a word for a lesion in their name; the only label where there is one only; else none, since an
        organ's diameter must not be taken for a tumour's.
    """
    named = [label for label in labels if _LESION_WORDS.search(label)]
    return named or (list(labels) if len(labels) == 1 else [])


def choose_targets(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The largest measurable lesions of the first scan: at most five, two of an organ.

    Args:
        candidates: lesions of the first scan.
    Returns:
        the targets, largest first; none where no lesion is measurable. Of equally large ones the first.
    Source: RECIST 1.1, sections 3.1 and 4.1. A label stands for an organ, all lymph nodes for one; a reader may choose
        smaller lesions that can be measured again more reliably.
    """
    chosen: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda lesion: -lesion.size_mm):
        of_organ = sum(other.organ == candidate.organ for other in chosen)
        if candidate.is_measurable and len(chosen) < MOST_TARGETS and of_organ < MOST_PER_ORGAN:
            chosen.append(candidate)
    return chosen


def list_departures(targets: Sequence[Candidate]) -> list[str]:
    """Where targets that somebody named depart from RECIST 1.1, a line each; empty where they do not."""
    found = [
        f"{target.lesion_id} measures {target.size_mm:.1f} mm in the first scan, less than a target's"
        f" {target.least_mm:g} mm"
        for target in targets
        if not target.is_measurable
    ]
    if len(targets) > MOST_TARGETS:
        found.append(f"{len(targets)} targets, more than {MOST_TARGETS}")
    for organ in dict.fromkeys(target.organ for target in targets):
        count = sum(target.organ == organ for target in targets)
        if count > MOST_PER_ORGAN:
            found.append(f"{count} targets of {organ}, more than {MOST_PER_ORGAN} of an organ")
    return found


def classify_response(sums_mm: Sequence[float], disappeared: Sequence[bool]) -> list[Response]:
    """The category of each scan by its sum of target diameters.

    Args:
        sums_mm: of each scan, the first one the baseline.
        disappeared: for each scan whether every target is gone (a node's short axis below 10 mm).
    Returns:
        a response per scan: CR where all targets are gone; PD where they are back after all were gone; else PD where
        the sum is at least 20 % and 5 mm above the smallest earlier one; else PR where it is at least 30 % below the
        first; else SD.
    Source: RECIST 1.1, section 4.3.1, for target lesions; for those that come back, the EORTC's answers to questions
        about RECIST 1.1 (recist.eortc.org, "Does a new lesion always result in PD?").
    """
    first = Response(sums_mm[0], 0.0 if sums_mm[0] else None, None, None, "baseline", "the first scan")
    later = [
        _classify(sums_mm[scan], sums_mm[0], min(sums_mm[:scan]), gone=disappeared[scan], back=any(disappeared[1:scan]))
        for scan in range(1, len(sums_mm))
    ]
    return [first, *later]


def _classify(sum_mm: float, baseline_mm: float, nadir_mm: float, *, gone: bool, back: bool) -> Response:
    from_baseline = 100 * (sum_mm - baseline_mm) / baseline_mm if baseline_mm else None
    from_nadir = 100 * (sum_mm - nadir_mm) / nadir_mm if nadir_mm else None
    rise_mm = sum_mm - nadir_mm
    rise = f"{sum_mm:.1f} mm is {rise_mm:+.1f} mm" + (f" ({from_nadir:+.1f} %)" if from_nadir is not None else "")
    rise += f" from the smallest sum, {nadir_mm:.1f} mm"
    by_share = from_nadir is None or from_nadir >= PROGRESSION_PERCENT - _ROUNDING
    if gone:
        category, rule = "CR", "every target lesion is gone"
    elif back:
        category = "PD"
        rule = f"{sum_mm:.1f} mm after every target lesion was gone: what comes back after a real CR is PD"
    elif by_share and rise_mm >= PROGRESSION_MM - _ROUNDING:
        category, rule = "PD", f"{rise}: at least +{PROGRESSION_PERCENT:g} % and +{PROGRESSION_MM:g} mm"
    elif from_baseline is not None and from_baseline <= _ROUNDING - RESPONSE_PERCENT:
        category = "PR"
        rule = f"{sum_mm:.1f} mm is {from_baseline:+.1f} % from the first sum, {baseline_mm:.1f} mm: at least -30 %"
    else:
        category, rule = "SD", f"{rise}: neither PR (-30 % from the first) nor PD (+20 % and +5 mm)"
    return Response(sum_mm, from_baseline, nadir_mm, from_nadir, category, rule)
