"""The files that a comparison is read in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.core import atomic
from medseg.reporting.comparison.figure import draw_comparison
from medseg.reporting.comparison.latex import format_latex
from medseg.reporting.comparison.text import format_comparison


def report_comparison(output: str | Path, content: Mapping[str, Any]) -> str:
    """Write ``comparison.tex`` and ``comparison.png``.

    Args:
        output: the folder.
        content: what ``comparison.json`` holds.
    Returns:
        the table for the terminal.
    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    atomic.write_text(Path(output) / "comparison.tex", format_latex(content))
    draw_comparison(Path(output) / "comparison.png", content)
    return format_comparison(content)
