"""The command line, run in this process: what it prints and how it ends."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from medseg.cli import app


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: the exit code.
        output: standard output.
        lines: standard error, the log included, line by line.
    """

    code: int
    output: str
    lines: list[str]

    def about(self, case: str) -> str:
        """The one line about a case."""
        (line,) = [line for line in self.lines if line.startswith(f"{case}, ")]
        return line


def medseg(*words: str | Path) -> Ended:
    """Run ``medseg WORDS``; an exception that no command expects fails the test with its traceback."""
    log = io.StringIO()
    handler, logger = logging.StreamHandler(log), logging.getLogger("medseg")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return Ended(result.exit_code, result.stdout, [*log.getvalue().splitlines(), *result.stderr.splitlines()])
