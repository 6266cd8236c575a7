#!/usr/bin/env python3
"""How soon the command line answers: `medseg --help` against a Typer app of three lines.

Both are started as new processes in turn, with the Python that runs this script; the Typer app is written to a
temporary file and has one command, an empty one. Each call pays for Python's own start (about 0.02 s).

Usage: python scripts/bench_start.py [--repeats 15] [--output FILE]
Prints median, smallest and largest wall-clock and CPU-seconds of both and the ratio of the medians; asked for is a
median below 0.3 s. FILE gets the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.clock import Clocked, clock_command, format_times, median

PLAIN_APP = "import typer\napp = typer.Typer(rich_markup_mode=None)\napp.command()(lambda: None)\napp()\n"
REQUIRED_S = 0.3


def compare(repeats: int, folder: Path) -> dict[str, list[Clocked]]:
    """Times of each call by contestant; one untimed call each first, so that files are in the system's cache."""
    app = folder / "plain_app.py"
    app.write_text(PLAIN_APP, "utf-8")
    commands = {
        "medseg --help": [str(Path(sys.executable).with_name("medseg")), "--help"],
        "plain Typer app --help": [sys.executable, str(app), "--help"],
    }
    for command in commands.values():
        clock_command(command)
    times: dict[str, list[Clocked]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            times[name].append(clock_command(command))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_start_") as folder:
        times = compare(options.repeats, Path(folder))
    for name, rows in times.items():
        print(f"{name:<24}{format_times(rows)}")
    ours, plain = times.values()
    ratios = {"wall": median(ours, "wall_s") / median(plain, "wall_s")}
    ratios["cpu"] = median(ours, "cpu_s") / median(plain, "cpu_s")
    print(f"medseg / plain Typer: wall {ratios['wall']:.2f}, CPU {ratios['cpu']:.2f}")
    reached = median(ours, "wall_s") < REQUIRED_S
    print(f"medseg --help below {REQUIRED_S} s: {'reached' if reached else 'missed'}")
    if options.output:
        rows = {name: [vars(row) for row in each] for name, each in times.items()}
        options.output.write_text(json.dumps({"times": rows, "ratios": ratios}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
