"""Reports: tables for the terminal and for files, key slices, and one self-contained HTML page."""

from medseg.reporting.content import CaseFigures, Figure, Line, ReportContent
from medseg.reporting.drawing import draw_case
from medseg.reporting.html import write_report
from medseg.reporting.terminal import format_score_table, format_volume_table

__all__ = [
    "CaseFigures",
    "Figure",
    "Line",
    "ReportContent",
    "draw_case",
    "format_score_table",
    "format_volume_table",
    "write_report",
]
