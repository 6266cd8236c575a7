"""How a command starts and how it ends: its log, its errors, its exit code."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from medseg.core.manifest import StepResult

# Of errors of resources, those that come before anything is done; and commands that do not do again what they did.
NOT_STARTED = ("no_device", "no_room", "in_use")
GO_ON = ("run", "demo", "preprocess", "train", "predict", "listen")


@contextlib.contextmanager
def catch_errors(plugins: list[str] | None = None) -> Iterator[None]:
    """Each expected error is one line on standard error: 2 where nothing could start, 1 where the run failed.

    Args:
        plugins: the user's modules, imported first.
    """
    from medseg.compute.lean_imports import allow_lean_imports
    from medseg.core.errors import MedsegError, ResourceError

    try:
        if plugins:
            from medseg.core.plugins import load_plugins

            load_plugins(plugins)
        else:
            allow_lean_imports()
        yield
    except ResourceError as error:
        typer.echo(f"medseg: {error}", err=True)
        raise typer.Exit(2 if error.code in NOT_STARTED else 1) from None
    except MedsegError as error:
        typer.echo(f"medseg: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:  # a disk that is full, a folder that cannot be written
        from medseg.core.disk import explain_write

        typer.echo(f"medseg: {explain_write(error)}", err=True)
        raise typer.Exit(1) from None
    except MemoryError as error:
        typer.echo(f"medseg: the memory is full {error}. Free memory or use a machine with more", err=True)
        raise typer.Exit(1) from None


def prepare_process() -> None:
    """Set up a process that runs one command: its log, its threads, its memory."""
    import gc
    import logging
    import sys

    # Threads that wait for one another sleep instead of spinning: on a shared machine that halves the processor time.
    # It must be said before PyTorch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Looking for cycles after every 700 new objects makes a sixth of PyTorch's import.
    gc.set_threshold(10_000, 10, 10)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("medseg").setLevel(logging.INFO)


def run_app(app: typer.Typer) -> None:
    """Run the command that the process was started with; SIGTERM and Ctrl-C end it soon, saying how to go on."""
    import sys

    from medseg.core.interruption import run_stoppable
    from medseg.core.quick_exit import leave_quickly

    goes_on = sys.argv[1:2] and sys.argv[1] in GO_ON
    with leave_quickly():
        run_stoppable(app, "the same command goes on where it stopped" if goes_on else "the same command begins anew")


def refuse_torchrun(command: str | None) -> None:
    """End with 2 where torchrun started a command that several processes cannot share."""
    if "TORCHELASTIC_RUN_ID" in os.environ and _count_processes() > 1 and command != "train":
        raise typer.BadParameter(f"torchrun starts several processes for medseg train alone, not for {command}")


def _count_processes() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def finish(result: StepResult, as_json: bool) -> None:
    """Print a result, as text or as JSON, and end with its exit code; of several processes the first prints."""
    from medseg.core.manifest import exit_code

    code = exit_code(result.outcomes)
    if _count_processes() == 1 or os.environ.get("RANK") == "0":
        typer.echo(result.to_json() if as_json else result.text)
    raise typer.Exit(4 if result.missed and code != 2 else code)
