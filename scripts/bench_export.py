#!/usr/bin/env python3
"""The way from logits back to a scan's mask: nnU-Net's own export and medseg's, in turn, each in a fresh process.

Parts (--parts, both by default):
  export  25 classes, 200 x 341 x 341 to 300 x 512 x 512, as halves: once with smooth logits, where one class is far
          ahead in most places, and once with noise (medseg alone: nnU-Net takes as long for both). Asked for: at most
          1/10 of nnU-Net's CPU-seconds, at most 1/8 of its memory beyond the logits, no voxel another
  stream  118 classes, 400 x 341 x 341 to 600 x 512 x 512, logits made block by block while a sliding window's sums are
          stood in for by 1.7 GB that are held. Asked for: under 4 GB, everything together

Usage: python scripts/bench_export.py [--parts export,stream] [--repeats 3] [--quick]
--quick: small sizes, seconds. nnU-Net (nnunetv2, bench group) is left out where it is not installed. Linux only: the
peak memory is read from /proc. Prints a line per run, then ratios with their range. Exit code 1 where voxels differ or
the streamed volume takes more memory than asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
from benchmarks.export_scene import Scene  # noqa: E402

FULL = {
    "smooth": Scene("25 classes, smooth", 25, (200, 341, 341), (300, 512, 512)),
    "noise": Scene("25 classes, noise", 25, (200, 341, 341), (300, 512, 512), "noise"),
    "stream": Scene("118 classes, streamed", 118, (400, 341, 341), (600, 512, 512)),
}
QUICK = {
    "smooth": Scene("25 classes, smooth", 25, (50, 86, 86), (75, 128, 128)),
    "noise": Scene("25 classes, noise", 25, (50, 86, 86), (75, 128, 128), "noise"),
    "stream": Scene("118 classes, streamed", 118, (60, 70, 70), (90, 105, 105)),
}
BALLAST_GB = 1.7
LIMIT_GB = 4.0

Result = dict[str, float]


def run_worker(scene: Scene, way: str, folder: Path, ballast_gb: float = 0.0) -> Result:
    """Export a scene in a fresh process; the mask goes to ``folder/WAY.npy``."""
    described = folder / "scene.json"
    described.write_text(json.dumps(dataclasses.asdict(scene)), "utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "benchmarks" / "export_worker.py")]
    command += [str(described), way, str(folder / f"{way}.npy"), str(ballast_gb)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{way}: exit code {done.returncode}\n{done.stderr}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{scene.name:22} {way:7} CPU {result['cpu_s']:7.2f} s   wall {result['wall_s']:7.2f} s"
        f"   beyond the logits {result['beyond_gb']:5.2f} GB   peak {result['peak_gb']:5.2f} GB",
        flush=True,
    )
    return result


def describe(title: str, theirs: list[Result], ours: list[Result], field: str, asked: str) -> str:
    ratios = [their[field] / max(our[field], 1e-9) for their, our in zip(theirs, ours, strict=True)]
    return (
        f"{title:28} {statistics.median(ratios):6.1f} x less ({min(ratios):.1f} to {max(ratios):.1f}; asked: {asked})"
    )


def bench_export(scenes: dict[str, Scene], repeats: int, folder: Path) -> bool:
    with_peer = importlib.util.find_spec("nnunetv2") is not None
    theirs, ours, different = [], [], 0
    for _ in range(repeats):
        if with_peer:
            theirs.append(run_worker(scenes["smooth"], "nnunet", folder))
        ours.append(run_worker(scenes["smooth"], "medseg", folder))
        if with_peer:
            different += int(np.sum(np.load(folder / "nnunet.npy") != np.load(folder / "medseg.npy")))
    run_worker(scenes["noise"], "medseg", folder)
    if not with_peer:
        print("ratios: not measured (nnunetv2 is not installed)")
        return True
    print(describe("CPU-seconds", theirs, ours, "cpu_s", "10"))
    print(describe("wall-clock", theirs, ours, "wall_s", "none"))
    print(describe("memory beyond the logits", theirs, ours, "beyond_gb", "8"))
    print(f"voxels that differ           {different}")
    return different == 0


def bench_stream(scene: Scene, folder: Path) -> bool:
    result = run_worker(scene, "stream", folder, BALLAST_GB)
    print(f"peak of everything           {result['peak_gb']:.2f} GB (asked: under {LIMIT_GB:.0f})")
    return result["peak_gb"] < LIMIT_GB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="export,stream")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    scenes, parts = QUICK if arguments.quick else FULL, arguments.parts.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_worker(QUICK["smooth"], "medseg", folder)  # the compiled loops are kept from here on
        right = "export" not in parts or bench_export(scenes, arguments.repeats, folder)
        within = "stream" not in parts or bench_stream(scenes["stream"], folder)
    return 0 if right and within else 1


if __name__ == "__main__":
    raise SystemExit(main())
