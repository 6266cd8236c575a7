"""The report's section on timelines: what the page shows of each patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medseg.reporting.timeline_charts import chart_diameters, chart_lesions, chart_totals
from medseg.reporting.timeline_tables import (
    tabulate_lesions_over_time,
    tabulate_response,
    tabulate_scans,
    tabulate_totals,
)
from medseg.reporting.timelines import PatientTimeline, Timelines


def describe_timelines(
    timelines: Timelines | None, names: Sequence[str], anchors: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the page's template needs of each patient.

    Args:
        timelines: of ``read_timelines``; None where there are none.
        names: the labels' names in order.
        anchors: case to the place of its pictures on the page.
    Returns:
        by patient: charts, tables, the RECIST arithmetic and warnings; of patients with one scan no charts.
    """
    return [_describe_patient(timeline, names, anchors) for timeline in (timelines.patients if timelines else ())]


def _describe_patient(timeline: PatientTimeline, names: Sequence[str], anchors: Mapping[str, str]) -> dict[str, Any]:
    several = len(timeline.scans) > 1
    recist = timeline.recist or {}
    return {
        "patient": timeline.patient,
        "warnings": timeline.warnings,
        "charts": _draw_charts(timeline, names, anchors) if several else [],
        "scans": tabulate_scans(timeline, anchors),
        "totals": tabulate_totals(timeline, names, anchors),
        "lesions": tabulate_lesions_over_time(timeline, names) if timeline.lesions and several else None,
        "response": tabulate_response(timeline, anchors),
        "response_chart": chart_diameters(timeline, anchors) if several else None,
        "recist": recist,
        "targets": [
            f"{target['lesion_id']} ({target['measured']} {target['diameter_mm']:.1f} mm)"
            for target in recist.get("targets", ())
        ],
    }


def _draw_charts(timeline: PatientTimeline, names: Sequence[str], anchors: Mapping[str, str]) -> list[Any]:
    charts: list[Any] = []
    for label in timeline.labels:
        own = [lesion for lesion in timeline.lesions if lesion.label == label]
        if len(own) != 1:  # one lesion's line is the label's
            charts.append(chart_totals(timeline, label, names, anchors))
        charts.append(chart_lesions(timeline, label, anchors))
    return [chart for chart in charts if chart is not None]
