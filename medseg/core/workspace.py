"""Where things stand in a workspace folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medseg.core.errors import PlanError
from medseg.core.plan import Plan


@dataclass(frozen=True)
class Workspace:
    """The paths of a workspace; nothing is made until a stage writes it."""

    root: Path

    @property
    def cases(self) -> Path:
        """Where the data set's files are."""
        return self.root / "cases.json"

    @property
    def fingerprint(self) -> Path:
        """The data set's fingerprint."""
        return self.root / "fingerprint.json"

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.root / "plan.json"

    @property
    def folds(self) -> Path:
        """The folds: a list of training and validation cases."""
        return self.root / "folds.json"

    @property
    def choice(self) -> Path:
        """Which configuration, folds and postprocessing were chosen, and why."""
        return self.root / "choice.json"

    @property
    def model(self) -> Path:
        """The model to use."""
        return self.root / "model"

    @property
    def predictions(self) -> Path:
        """The masks that ``medseg run`` predicted."""
        return self.root / "predictions"

    @property
    def report(self) -> Path:
        """The report of ``medseg run``."""
        return self.root / "report.html"

    def prepared(self, configuration: str) -> Path:
        """The folder of prepared cases."""
        return self.root / "prepared" / configuration

    def run(self, configuration: str, fold: int | str) -> Path:
        """The folder of one fold's training."""
        return self.root / "runs" / configuration / f"fold_{fold}"


def read_plan(space: Workspace) -> Plan:
    """A workspace's plan.

    Args:
        space: the workspace.
    Returns:
        the plan in ``W/plan.json``.
    Raises:
        PlanError: there is none yet.
        FormatError: it is damaged.
    """
    if not space.plan.is_file():
        remedy = f"Run medseg plan DATASET --workspace {space.root} first"
        raise PlanError("there is no plan yet", code="no_plan", file=space.plan, remedy=remedy)
    return Plan.read(space.plan)
