#!/usr/bin/env python3
"""What surface metrics cost: HD95, ASSD and NSD beside surface-distance and MONAI, and `medseg evaluate` on a fold.

All contestants run in turn in this process, on one thread, in another order each round; printed are median CPU-seconds
and their ratios with the range. A first, untimed call of each compiles or loads what it needs. All start from the two
label maps, as files hold them (uint8), out of which the peers are given the masks that they ask for; "masks ready" is
surface-distance without that step.
Asked for are, of a lesion of 3000 voxels in a scan of 512 x 512 x 300, at most 3 times one read of both masks
(``count_nonzero`` of each), at least 8 times faster than surface-distance and 100 times faster than MONAI, and less
than 50 MB of extra memory; 20 times faster for an organ of a million voxels, 10 times for ten classes in
128 x 128 x 128; and at most 6 CPU-seconds for `medseg evaluate` with all its metrics on the 42 cases of a hippocampus
fold (predictions are references moved by one voxel along a random axis and eaten at random places; the start of Python
and all imports count).

Usage: OMP_NUM_THREADS=1 python scripts/bench_metrics.py [--repeats 7] [--slow-repeats 3]
       [--data MSD_HIPPOCAMPUS_FOLDER] [--medseg-python PYTHON]
The peers are the packages surface-distance and monai (group bench); one that is not installed is left out, with a word.
PYTHON is the one that runs `medseg evaluate`, where this script runs in the peers' environment; this one by default.
Ends with 1 where something asked for was missed.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from benchmarks.cpu_clock import read_cpu
from benchmarks.metric_peers import Peer, find_peers, list_masks
from benchmarks.metric_scenes import Scene, draw_classes, draw_lesion, draw_organ, write_predictions

from medseg.core.geometry import Geometry
from medseg.core.labels import LabelScheme
from medseg.core.volume import Segmentation
from medseg.evaluation import evaluate_case

METRICS = ("hd95", "assd", "nsd")
READ = "one read of both"
# By scene and contestant: how many times faster medseg must be; of a read, how many times its time it may take.
ASKED: dict[str, dict[str, float]] = {
    "lesion in a CT": {READ: 3.0, "surface-distance": 8.0, "monai": 100.0},
    "organ in a CT": {"surface-distance": 20.0},
    "organ in its box": {"surface-distance": 20.0},
    "10 classes in 128^3": {"surface-distance": 10.0},
}
MOST_EXTRA_MB, MOST_CPU_S, FOLD_CASES = 50.0, 6.0, 42

Contestant = Callable[[], Any]


def score_scene(scene: Scene) -> list[float | None]:
    """medseg's HD95, ASSD and NSD of every label."""
    geometry = Geometry.from_spacing(scene.reference.shape, scene.spacing_mm)
    maps = (Segmentation(array, geometry) for array in (scene.prediction, scene.reference))
    labels = LabelScheme.make({f"label_{value}": value for value in scene.values})
    return [row.value for row in evaluate_case(*maps, labels, case="scene", metrics=METRICS)]


def read_both(scene: Scene) -> int:
    return int(np.count_nonzero(scene.prediction) + np.count_nonzero(scene.reference))  # ``any`` would stop early


def clock_in_turn(contestants: Mapping[str, Contestant], repeats: Mapping[str, int]) -> dict[str, list[float]]:
    """CPU-seconds of each contestant, one after another in rounds, in an order drawn for each: who always followed
    the same one would always find the caches as that one leaves them."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(max(repeats.values()) + 1):
        for name in random.Random(turn).sample(names, len(names)):
            if turn <= repeats[name]:
                began = read_cpu()
                contestants[name]()
                seconds[name].append(read_cpu() - began)
    return {name: values[1:] for name, values in seconds.items()}


def compare_scene(scene: Scene, peers: Mapping[str, Peer], options: Any) -> bool:
    """Print what each takes of one scene; whether what is asked for was reached."""
    contestants: dict[str, Contestant] = {"medseg": lambda: score_scene(scene)}
    asked, ready = ASKED[scene.name], list_masks(scene)
    if READ in asked:
        contestants[READ] = lambda: read_both(scene)
    for name, run in peers.items():
        if name in asked:
            contestants[name] = lambda run=run: run(list_masks(scene), scene.spacing_mm)
        if name == "surface-distance":
            contestants[f"{name}, masks ready"] = lambda run=run: run(ready, scene.spacing_mm)
    fast = ("medseg", READ)
    seconds = clock_in_turn(
        contestants, {name: options.repeats if name in fast else options.slow_repeats for name in contestants}
    )
    print(f"{scene.name}: {np.count_nonzero(scene.reference)} voxels, {len(scene.values)} labels")
    met = [_tell(name, seconds, asked.get(name)) for name in seconds]
    return all(met)


def _tell(name: str, seconds: Mapping[str, list[float]], asked: float | None) -> bool:
    """Print one contestant's line; whether its ratio is as asked."""
    ours, theirs = statistics.median(seconds["medseg"]), statistics.median(seconds[name])
    ratio, word = (ours / theirs, "times its time") if name == READ else (theirs / ours, "times faster")
    met = asked is None or (ratio <= asked if name == READ else ratio >= asked)
    spread = f"({min(seconds[name]) * 1e3:.2f} to {max(seconds[name]) * 1e3:.2f})"
    words = "" if name == "medseg" else f"  medseg: {ratio:.1f} {word}"
    words += "" if asked is None else f", asked {asked:g}{'' if met else '  MISSED'}"
    print(f"  {name:<30}{theirs * 1e3:10.2f} ms {spread}{words}", flush=True)
    return met


def measure_extra_memory(run: Contestant) -> float | None:
    """The peak of this process above what it held before, MB (1e6 bytes); None where the system does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        before = _read_status("VmRSS")
        run()
        return (_read_status("VmHWM") - before) * 1024 / 1e6
    except OSError:
        return None


def _read_status(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def check_memory(scene: Scene) -> bool:
    score_scene(scene)
    extra = measure_extra_memory(lambda: score_scene(scene))
    if extra is None:
        print("extra memory: not told by this system")
        return True
    print(f"extra memory on the lesion in a CT: {extra:.1f} MB, asked below {MOST_EXTRA_MB:g}")
    return extra < MOST_EXTRA_MB


def clock_evaluate(data: Path, python: str, repeats: int) -> bool:
    """Print the CPU-seconds of `medseg evaluate` on a fold; whether they are within what is asked for."""
    from benchmarks.clock import clock_command

    references = sorted((data / "labelsTr").glob("[!.]*.nii.gz"))[:FOLD_CASES]
    with tempfile.TemporaryDirectory(prefix="bench_metrics_") as name:
        folder = Path(name)
        write_predictions(references, folder / "predictions", folder / "references")
        words = [str(folder / part) for part in ("predictions", "references")]
        labels = ["--labels", str(data / "dataset.json"), "--output", str(folder / "scores")]
        command = [python, "-m", "medseg", "evaluate", *words, *labels]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
        clock_command(command, environment=environment)
        seconds = [clock_command(command, environment=environment).cpu_s for _ in range(repeats)]
    median = statistics.median(seconds)
    spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
    print(f"medseg evaluate, {len(references)} cases: {median:.2f} CPU-seconds {spread}, asked at most {MOST_CPU_S:g}")
    return median <= MOST_CPU_S


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--slow-repeats", type=int, default=3, help="of the peers")
    parser.add_argument("--data", type=Path, help="a Decathlon hippocampus folder; left out if not given")
    parser.add_argument("--medseg-python", default=sys.executable)
    options = parser.parse_args(words)
    warnings.simplefilter("ignore")  # the peers use names of numpy and scipy that are on their way out
    peers = find_peers()
    lesion = draw_lesion()
    reached = [compare_scene(lesion, peers, options), check_memory(lesion)]
    del lesion
    reached.append(compare_scene(draw_organ(whole_scan=True), peers, options))
    reached.append(compare_scene(draw_organ(whole_scan=False), peers, options))
    reached.append(compare_scene(draw_classes(), peers, options))
    if options.data:
        reached.append(clock_evaluate(options.data, options.medseg_python, options.slow_repeats))
    print("all that is asked for is reached" if all(reached) else "something was missed")
    return 0 if all(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
