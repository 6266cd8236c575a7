"""CPU-seconds of planning, and whether the plans are those that nnU-Net wrote."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.cpu_clock import read_cpu

REQUIRED_CPU_S = 0.2
REPEATS = 5


def run_planner(folder: Path) -> dict:
    """Plan for each data set that nnU-Net fingerprinted.

    Args:
        folder: a folder per data set with ``dataset_fingerprint.json``, ``dataset.json`` and nnU-Net's ``plans.json``.
    Returns:
        CPU-seconds of ``make_plan`` by data set and whether its plan in nnU-Net's words equals nnU-Net's; printed too.
    """
    from medseg.planning import make_plan, plan_from_nnunet
    from medseg.planning.nnunet_files import read_nnunet_data

    tasks = sorted(path for path in folder.iterdir() if path.is_dir())
    files = {task.name: (task / "dataset_fingerprint.json", task / "dataset.json") for task in tasks}
    make_plan(read_nnunet_data(*files[tasks[-1].name]).fingerprint)  # what is imported on the way is not counted
    print("planner: CPU-seconds of make_plan, median (smallest to largest)")
    result: dict[str, dict] = {}
    for task in tasks:
        found = read_nnunet_data(*files[task.name]).fingerprint
        seconds = []
        for _ in range(REPEATS):
            began = read_cpu()
            make_plan(found)
            seconds.append(read_cpu() - began)
        equal = plan_from_nnunet(*files[task.name], as_nnunet=True) == json.loads(
            (task / "plans.json").read_text("utf-8")
        )
        result[task.name] = {"cpu_s": seconds, "equal": equal}
        words = "equals nnU-Net's" if equal else "DIFFERS from nnU-Net's"
        spread = f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"
        print(f"  {task.name:<24} {len(found.cases):>4} cases  {spread}  {words}")
    slowest = max(statistics.median(row["cpu_s"]) for row in result.values())
    reached = slowest <= REQUIRED_CPU_S
    print(f"  at most {REQUIRED_CPU_S} each: {'reached' if reached else 'missed'} ({slowest:.3f})")
    print(f"  equal: {sum(row['equal'] for row in result.values())} of {len(result)}")
    return result
