"""A predictor that stays in memory and predicts one case a line; started by bench_inference.py in either's Python.

Usage: python warm_predictor.py --peer nnunet|medseg --model FOLDER [--engine torch] [--precision exact]
Reads lines of JSON {"images": [...], "output": "FOLDER/CASE.nii.gz"} and answers each with {"wall_s": 1, "cpu_s": 2}:
reading, preprocessing, network, the way back and writing of one case. A first answer comes when the model is loaded.
Everything else that is printed goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Predict = Callable[[list[str], str], None]


def load_nnunet(model: str) -> Predict:
    """nnU-Net's predictor in one process, which costs it less than its own command's processes."""
    import torch
    from nnunet_predict import name_trainer
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    name_trainer()
    torch.set_num_threads(count_cores())
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(model, None)

    def predict(images: list[str], output: str) -> None:
        predictor.predict_from_files_sequential([images], [output.removesuffix(".nii.gz")])

    return predict


def load_medseg(model: str, engine: str, precision: str) -> Predict:
    """medseg's predictor through its Python functions."""
    from medseg.inference import Predictor
    from medseg.io import write_segmentation

    predictor = Predictor.load(model, device="cpu", engine=engine, precision=precision)

    def predict(images: list[str], output: str) -> None:
        write_segmentation(Path(output), predictor.predict(images).segmentation)

    return predict


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_cpu() -> float:
    """User and system seconds of this process and its ended children."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=["nnunet", "medseg"], required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--precision", default="exact")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    is_ours = options.peer == "medseg"
    predict = load_medseg(options.model, options.engine, options.precision) if is_ours else load_nnunet(options.model)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        wall, cpu = time.perf_counter(), read_cpu()
        predict(case["images"], case["output"])
        answer = {"wall_s": time.perf_counter() - wall, "cpu_s": read_cpu() - cpu}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
