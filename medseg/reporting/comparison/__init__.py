"""A comparison of methods for people: a table for the terminal, one for LaTeX, and a figure."""

from medseg.reporting.comparison.figure import draw_comparison
from medseg.reporting.comparison.files import report_comparison
from medseg.reporting.comparison.latex import format_latex
from medseg.reporting.comparison.text import format_comparison

__all__ = ["draw_comparison", "format_comparison", "format_latex", "report_comparison"]
