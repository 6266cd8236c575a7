"""Small scans, tables and a whole report to test with."""

import functools
from html.parser import HTMLParser
from typing import Any

import numpy as np

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.manifest import CaseOutcome
from medseg.core.results import Measurement, Score, Status
from medseg.core.volume import Segmentation, Volume
from medseg.reporting import CaseFigures, Line, ReportContent, draw_case

LABELS = LabelScheme.make({"liver": 1, "tumour": 2})


def make_scan(
    shape: tuple[int, int, int] = (40, 36, 12), spacing_mm: tuple[float, float, float] = (2.0, 2.0, 5.0)
) -> tuple[Volume, Segmentation]:
    """A CT whose liver is largest in slice 4 and whose tumour is largest in slice 7; LPS order, as scanners write."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = (40.0, 36.0, -20.0)
    geometry = Geometry(shape, affine)
    mask = np.zeros(shape, np.uint8)
    mask[8:24, 10:26, 2:10] = 1
    mask[6:26, 8:28, 4] = 1
    mask[12:15, 14:17, 5:9] = 2
    mask[12:17, 14:19, 7] = 2
    image = np.where(mask == 1, 105, np.where(mask == 2, 60, -90)).astype(np.int16)
    return Volume(image[None], geometry, ("CT",)), Segmentation(mask, geometry)


def make_score(
    case: str, label: str, value: float | None, metric: str = "dice", status: Status = "ok", unit: str = "", **more: Any
) -> Score:
    """A score of a whole label; the patient is the case's name without its last two characters."""
    known: dict[str, Any] = {"day": None, "fold": 0, "instance": 0, "definition": "voxel", **more}
    return Score(
        case=case, patient=case[:-2], label=label, metric=metric, value=value, unit=unit, status=status, **known
    )


def make_measurement(
    case: str, label: str, quantity: str, value: float | None, status: Status = "ok", **more: Any
) -> Measurement:
    """A measurement of a whole label; the patient is the case's name without its last two characters."""
    unit = quantity.rpartition("_")[2] if quantity.endswith(("_ml", "_mm")) else ""
    known: dict[str, Any] = {"day": None, "instance": 0, "lesion_id": "", "low": None, "high": None, **more}
    return Measurement(
        case=case, patient=case[:-2], label=label, quantity=quantity, definition="voxel count", value=value, unit=unit,
        status=status, **known,
    )  # fmt: skip


def measure(case: str, label: str, volume_ml: float, day: int | None = None, border: bool = False) -> list[Measurement]:
    """The measurements of a label with one lesion, or of an empty one where the volume is 0."""
    whole: list[tuple[str, float | None, Status]] = [
        ("volume_ml", volume_ml, "ok"),
        ("lesion_count", 1.0 if volume_ml else 0.0, "ok"),
        ("diameter_axial_mm", 31.25 if volume_ml else None, "ok" if volume_ml else "not_defined"),
        ("diameter_perpendicular_mm", 20.0 if volume_ml else None, "ok" if volume_ml else "not_defined"),
        ("touches_border", float(border), "ok"),
    ]
    rows = [make_measurement(case, label, name, value, status, day=day) for name, value, status in whole]
    lesion = {"day": day, "instance": 1, "lesion_id": f"{label}-1"}
    if volume_ml:
        rows += [make_measurement(case, label, name, value, status, **lesion) for name, value, status in whole]
    return rows


@functools.lru_cache
def draw_example(case: str = "p1-1") -> CaseFigures:
    """The pictures of the example scan, with a reference and a diameter."""
    volume, mask = make_scan()
    shifted = Segmentation(np.roll(mask.array, 1, axis=0), mask.geometry)
    line = Line("tumour", 2, 7, (11.5, 13.5, 7.0), (16.5, 18.5, 7.0), "14.1 mm")
    return draw_case(volume, mask, shifted, LABELS, case=case, patient=case[:-2], day=0, lines=[line])


def make_content(**changes: Any) -> ReportContent:
    """A report with something in every section."""
    scores = [
        make_score("p1-1", "liver", 0.951234),
        make_score("p1-2", "liver", 0.93),
        make_score("p2-1", "liver", 0.97),
        make_score("p1-1", "tumour", 0.71),
        make_score("p1-2", "tumour", 0.0, status="prediction_empty"),
        make_score("p2-1", "tumour", None, status="both_empty"),
        make_score("p1-1", "tumour", 2.25, "hd95", unit="mm"),
        make_score("p1-2", "tumour", float("inf"), "hd95", "prediction_empty", unit="mm"),
    ]
    measurements = [
        *measure("p1-1", "liver", 1500.25, day=0),
        *measure("p1-2", "liver", 1400.0, day=30, border=True),
        *measure("p2-1", "liver", 1622.5, day=0),
        *measure("p1-1", "tumour", 8.0, day=0),
        *measure("p1-2", "tumour", 0.0, day=30),
        *measure("p2-1", "tumour", 0.0, day=0),
    ]
    outcomes = [
        CaseOutcome("p1-1", "done"),
        CaseOutcome("p3-1", "refused", "other_grid", ("p3-1.nii.gz",), "mask on another grid", "Give its own scan"),
    ]
    training = [{"epoch": n, "loss": 1 / n, "dice": {"liver": 1 - 1 / n, "tumour": None}} for n in range(1, 6)]
    known: dict[str, Any] = {
        "title": "Test report",
        "dataset": "phantoms",
        "labels": LABELS,
        "scores": scores,
        "measurements": measurements,
        "cases": [draw_example()],
        "outcomes": outcomes,
        "training": training,
        "notes": ("Channel named by the data set.",),
        "warnings": ("One fold only.",),
        "provenance": {"version": "0.1.0", "model": "abc"},
    }
    return ReportContent(**{**known, **changes})


class Page(HTMLParser):
    """What a browser would see: tags with attributes, table rows by caption, and balanced tags."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, dict[str, str | None]]]]] = {}
        self.open: list[str] = []
        self._caption = ""
        self._text = ""
        self._attributes: dict[str, str | None] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("caption", "td", "th"):
            self._text, self._attributes = "", dict(attrs)
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "caption":
            self._caption = self._text
        if tag in ("td", "th"):
            self.tables[self._caption][-1].append((self._text, self._attributes))

    def handle_data(self, data: str) -> None:
        self._text += data
