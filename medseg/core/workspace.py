"""Where things stand in a workspace folder."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from medseg.core.atomic import remove_leftovers
from medseg.core.errors import PlanError
from medseg.core.locks import LOCK, hold_lock
from medseg.core.plan import Plan

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


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


@contextlib.contextmanager
def lock_workspace(space: Workspace, purpose: str, *, beside_training: bool = False) -> Iterator[None]:
    """Be the only one that writes in a workspace, and remove what killed processes left half-written in it.

    Args:
        space: the workspace; its folder is made where missing.
        purpose: what is done, for whoever has to wait.
        beside_training: whether folds that are being trained do not mind.
    Returns:
        a context manager.
    Raises:
        ResourceError: another process writes or trains there, with code ``in_use``; or the folder cannot be written.
    """
    rivals = () if beside_training else space.root.glob(f"runs/*/*/{LOCK}")
    with hold_lock(space.root / LOCK, purpose, rivals=rivals):
        remove_leftovers(space.root, deep=True, alone=not beside_training)
        yield


@contextlib.contextmanager
def lock_run(space: Workspace, configuration: str, fold: int | str) -> Iterator[None]:
    """Be the only one that trains one fold; other folds may be trained at the same time, on other machines too.

    Args:
        space: the workspace.
        configuration, fold: what is trained.
    Returns:
        a context manager. Of several processes that train together, the first one holds the lock for all.
    Raises:
        ResourceError: another process trains the fold or changes the workspace, with code ``in_use``; or the folder
            cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    folder, purpose = space.run(configuration, fold), f"medseg train, {configuration} fold {fold}"
    with hold_lock(folder / LOCK, purpose, rivals=[space.root / LOCK]):
        remove_leftovers(folder, deep=True, alone=True)
        yield


def locks_workspace(
    purpose: str, *, beside_training: bool = False
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make a function the only one that writes in the workspace that it is given as ``workspace``.

    Args:
        purpose, beside_training: as in ``lock_workspace``.
    Returns:
        a decorator; called without a workspace the function locks nothing.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def run_locked(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
            root = signature.bind(*args, **options).arguments.get("workspace")
            if root is None:
                return function(*args, **options)
            with lock_workspace(Workspace(Path(root)), purpose, beside_training=beside_training):
                return function(*args, **options)

        return run_locked

    return decorate


def locks_run(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function the only one that trains the fold that it is given as ``space``, ``name`` and ``fold``."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run_locked(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        given = signature.bind(*args, **options).arguments
        with lock_run(given["space"], given["name"], given["fold"]):
            return function(*args, **options)

    return run_locked
