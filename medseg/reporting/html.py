"""The report as one HTML file that needs nothing else: no server, no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from medseg.core import atomic
from medseg.core.results import Score
from medseg.reporting import charts, tables
from medseg.reporting.aggregates import aggregate_scores, number_of
from medseg.reporting.agreement import chart_agreement, tabulate_agreement
from medseg.reporting.cohort import MeasuredRow, follow_volumes, gather_measurements, gather_scores
from medseg.reporting.content import CaseFigures, Figure, ReportContent
from medseg.reporting.findings import find_warnings
from medseg.reporting.palette import ON_IMAGE, ON_PAPER, colour_number
from medseg.reporting.quantities import DASH, format_number
from medseg.reporting.timeline_section import describe_timelines

_PAGE = Path(__file__).parent / "page"


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write the report as one self-contained HTML file, whole or not at all.

    Args:
        path: the file, such as ``report.html``.
        content: everything that it shows; the same content gives the same bytes.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    context = _describe_page(content)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("report.html.j2")
    with atomic.atomic_open(path) as stream:
        # Piece by piece, so that the pictures are never all in memory a second time.
        for piece in template.generate(context):
            stream.write(piece.encode("utf-8", "replace"))


def _describe_page(content: ReportContent) -> dict[str, Any]:
    names = content.labels.names
    rows = gather_measurements(content.measurements, names)
    scores = gather_scores(content.scores)
    summary = aggregate_scores(content.scores) if content.summary is None else content.summary
    rows_of = {case: list(group) for case, group in groupby(rows, key=lambda row: row.case)}
    scores_of: dict[str, dict[str, dict[str, Score]]] = {}
    for (case, label), metrics in scores.items():
        scores_of.setdefault(case, {})[label] = metrics
    anchors = {figures.case: f"case-{number}" for number, figures in enumerate(content.cases, start=1)}
    followed = {timeline.patient for timeline in content.timelines.patients} if content.timelines else set()
    findings = find_warnings(content, rows)
    outcomes = tables.tabulate_outcomes(content.outcomes)
    style, script = _read_style(), (_PAGE / "report.js").read_text("utf-8")
    return {
        "content": content,
        "style": style,
        "script": script,
        "policy": _make_policy(style, script),
        "tiles": _describe_tiles(content, summary, len(findings) + len(outcomes.rows)),
        "findings": findings,
        "outcomes": outcomes,
        "overview": tables.tabulate_overview(rows, summary, names),
        "scores": tables.tabulate_scores(summary, names),
        "strip": charts.chart_dice(content.scores, summary, names, anchors),
        "agreement": tabulate_agreement(summary, names),
        "agreement_charts": chart_agreement(content.scores, summary, names, anchors),
        "cohort": tables.tabulate_cohort(rows, scores, names, anchors),
        "lesions": tables.tabulate_lesions(rows, names, anchors),
        "courses": _describe_courses([row for row in rows if row.patient not in followed], names, anchors),
        "timelines": describe_timelines(content.timelines, names, anchors),
        "timeline_rules": content.timelines.rules if content.timelines else {},
        "curves": charts.chart_training(content.training, names),
        "cases": [
            _describe_case(figures, rows_of.get(figures.case, []), scores_of.get(figures.case, {}), names, anchors)
            for figures in content.cases
        ],
        "provenance": [(key, str(value)) for key, value in content.provenance.items()],
    }


def _make_policy(style: str, script: str) -> str:
    # The page may run its own style and script, known by their hashes, and show its own pictures: nothing else.
    hashes = [base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _read_style() -> str:
    colours = "".join(
        f"--paper-{n}:{paper};--image-{n}:{image};"
        for n, (paper, image) in enumerate(zip(ON_PAPER, ON_IMAGE, strict=True))
    )
    classes = "".join(f".ink-{n}{{--ink:var(--paper-{n});--line:var(--image-{n})}}\n" for n in range(len(ON_PAPER)))
    return f":root{{{colours}}}\n{classes}{(_PAGE / 'report.css').read_text('utf-8')}"


def _describe_tiles(content: ReportContent, summary: Mapping[str, Any], warnings: int) -> list[dict[str, str]]:
    """The boxes at the top: a number, what it counts, and a remark."""
    people = {(r.case, r.patient) for group in (content.measurements, content.scores) for r in group}
    people |= {(figures.case, figures.patient) for figures in content.cases}
    done = {o.case for o in content.outcomes if o.status in ("done", "skipped")}
    cases = {case for case, _ in people} or done  # a run's outcomes also name the cases that were trained on
    bad = {o.case for o in content.outcomes if o.status in ("refused", "failed")}
    patients = len({patient for _, patient in people})
    tiles = [
        {
            "number": str(len(cases - bad)),
            "title": "cases",
            "remark": f"{patients} patient{'s' * (patients != 1)}" + (f", {len(bad)} not usable" if bad else ""),
            "kind": "",
        },
        {
            "number": str(len(content.labels.names)),
            "title": f"label{'s' * (len(content.labels.names) != 1)}",
            "remark": _shorten(content.labels.names),
            "kind": "",
        },
    ]
    if content.scores:
        dice = _mean_dice(summary)
        tiles.append(
            {
                "number": DASH if dice is None else format_number(dice),
                "title": "mean Dice",
                "remark": "average of the labels' means",
                "kind": "",
            }
        )
    remark = "see below" if warnings else "nothing stood out in the tables"
    title = f"warning{'s' * (warnings != 1)}"
    tiles.append({"number": str(warnings), "title": title, "remark": remark, "kind": "alert" if warnings else "good"})
    return tiles


def _mean_dice(summary: Mapping[str, Any]) -> float | None:
    means = [number_of(metrics["dice"], "mean") for metrics in summary.get("labels", {}).values() if "dice" in metrics]
    known = [mean for mean in means if mean is not None]
    return sum(known) / len(known) if known else None


def _shorten(names: Sequence[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _describe_courses(
    rows: Sequence[MeasuredRow], names: Sequence[str], anchors: Mapping[str, str]
) -> list[dict[str, Any]]:
    described = []
    for patient, group in groupby(follow_volumes(rows, names), key=lambda course: course.patient):
        courses = list(group)
        drawn = [chart for course in courses if (chart := charts.chart_course(course, names, anchors)) is not None]
        table = tables.tabulate_course(courses, names, anchors)
        described.append({"patient": patient, "charts": drawn, "table": table})
    return described


def _describe_case(
    figures: CaseFigures,
    rows: Sequence[MeasuredRow],
    scores: Mapping[str, Mapping[str, Score]],
    names: Sequence[str],
    anchors: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "figures": figures,
        "anchor": anchors[figures.case],
        "table": tables.tabulate_case([row for row in rows if row.instance == 0], scores, names),
        "key_slices": [figure for figure in figures.slices if figure.is_key],
        "thumbnails": [figure for figure in figures.slices if not figure.is_key],
        "ink": {name: colour_number(names, name) for name in names},
    }


def _data_uri(figure: Figure) -> str:
    return f"data:{figure.media_type};base64,{base64.b64encode(figure.image).decode('ascii')}"
