"""One export in a process of its own: prints its times and its peak memory as JSON.

Usage: python export_worker.py SCENE.json nnunet|medseg|stream OUTPUT.npy [BALLAST_GB]
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from benchmarks.export_scene import Scene, generate_blocks, make_logits  # noqa: E402

from medseg.preprocessing import restore_blocks, restore_segmentation  # noqa: E402

# Blocks of the streamed volume: as long as half a patch of 128 voxels, after which windows are finished.
BLOCK_ROWS = 64
BLOCK_COLUMNS = 64

Export = Callable[[], np.ndarray]


def prepare_medseg(scene: Scene) -> Export:
    logits = make_logits(scene, (0, scene.prepared[0]), (0, scene.prepared[1]))
    return lambda: restore_segmentation(logits, scene.grid(), scene.labels()).array


def prepare_stream(scene: Scene) -> Export:
    return lambda: restore_blocks(generate_blocks(scene, BLOCK_ROWS, BLOCK_COLUMNS), scene.grid(), scene.labels()).array


def prepare_nnunet(scene: Scene) -> Export:
    """nnU-Net's own export of the same logits; what it reads of a plan is written here."""
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    logits = make_logits(scene, (0, scene.prepared[0]), (0, scene.prepared[1]))
    grid = scene.grid()
    plans = PlansManager(
        {
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {
                "3d_fullres": {
                    "architecture": {},
                    "spacing": list(grid.resampled_mm),
                    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                    "resampling_fn_probabilities_kwargs": {
                        "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None,
                    },
                }
            },
        }
    )  # fmt: skip
    properties = {
        "spacing": list(grid.cropped_mm),
        "shape_before_cropping": scene.scan,
        "shape_after_cropping_and_before_resampling": scene.scan,
        "bbox_used_for_cropping": [[0, n] for n in scene.scan],
    }
    names = {"background": 0, **{name: values[0] for name, values in scene.labels().labels.items()}}
    return lambda: convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        plans,
        plans.get_configuration("3d_fullres"),
        plans.get_label_manager({"labels": names}),
        properties,
        num_threads_torch=torch.get_num_threads(),
    )


def read_memory_gb(field: str) -> float:
    """A memory field of this process (Linux), GB (1e9 bytes)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise SystemExit(f"/proc/self/status has no {field}")


def main() -> None:
    scene = Scene(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    prepare = {"nnunet": prepare_nnunet, "medseg": prepare_medseg, "stream": prepare_stream}[sys.argv[2]]
    ballast_gb = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    ballast = np.ones(int(ballast_gb * 1e9), np.uint8)  # written, so that it lies in memory
    export = prepare(scene)
    before_gb = read_memory_gb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here on
    wall, cpu = time.perf_counter(), _cpu_s()
    mask = export()
    result = {"wall_s": time.perf_counter() - wall, "cpu_s": _cpu_s() - cpu}
    result["peak_gb"] = read_memory_gb("VmHWM")
    result["beyond_gb"] = result["peak_gb"] - before_gb
    del ballast
    np.save(sys.argv[3], mask.astype(np.uint8))
    print(json.dumps(result))


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
