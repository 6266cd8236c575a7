#!/usr/bin/env python3
"""What the checks of scans cost: medseg's reading beside nibabel's, CPU-seconds of one thread, and the memory it takes.

Usage: python scripts/bench_guard.py [--repeats 9] [--voxels 256,256,128] [--output FILE]
Both read the same files in turn in this process: nibabel's voxels as it stores them (``dataobj``), in float32 where the
header scales. medseg's time holds every check: header, length, checksum, NaN. Printed are the median ratio medseg to
nibabel of CPU time with its range; what a header alone takes; and, in a process of its own for each, how much memory
reading takes beyond the volume that it gives. Asked for are a ratio of at most 1.3 and at most 100 MB. FILE gets the
same as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nibabel as nib
import numpy as np

from medseg.io.nifti import read_nifti, read_nifti_header

REQUIRED_RATIO = 1.3
REQUIRED_MB = 100.0
# Prints the volume's bytes and the process's peak beyond what it held before it read, bytes (Linux: VmHWM).
PEAK = """
import sys
from pathlib import Path
from medseg.io.nifti import read_nifti
def look(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
read_nifti(sys.argv[2])
before = look("VmRSS")
array, _ = read_nifti(sys.argv[1])
print(array.nbytes, look("VmHWM") - before)
"""


def make_voxels(shape: tuple[int, int, int]) -> np.ndarray:
    """Air and a body of soft tissue with noise, HU as a CT has them."""
    generator = np.random.default_rng(0)
    i, j, k = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    body = (i**2 + (1.3 * j) ** 2 + 0 * k) < 0.7
    hu = np.where(body, 40 * np.cos(6 * i) * np.cos(5 * k) + generator.normal(0, 15, shape), -1000.0)
    return hu.round().astype(np.int16)


def write_files(folder: Path, shape: tuple[int, int, int]) -> dict[str, Path]:
    """The files to read, by what they are."""
    hu = make_voxels(shape)
    affine = np.diag([0.8, 0.8, 2.0, 1.0])
    arrays = {
        "int16 .nii.gz": (hu, ".nii.gz", (1, 0)),
        "float32 .nii.gz": (hu.astype(np.float32) / 7, ".nii.gz", (1, 0)),
        "uint8 mask .nii.gz": ((hu > 40).astype(np.uint8), ".nii.gz", (1, 0)),
        "int16 scaled .nii.gz": (hu, ".nii.gz", (0.5, -3)),
        "float64 .nii.gz": (hu / 7.0, ".nii.gz", (1, 0)),
        "int16 .nii": (hu, ".nii", (1, 0)),
        "float32 .nii": (hu.astype(np.float32) / 7, ".nii", (1, 0)),
    }
    paths = {}
    for number, (name, (array, ending, (slope, intercept))) in enumerate(arrays.items()):
        image = nib.Nifti1Image(array, affine, dtype=array.dtype)
        path = folder / f"{number}.nii"
        nib.save(image, path)
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([slope, intercept], "<f4").tobytes()
        path.write_bytes(content)
        paths[name] = path
        if ending == ".nii.gz":
            subprocess.run(["gzip", "-6", str(path)], check=True)
            paths[name] = path.with_name(path.name + ".gz")
    return paths


def read_with_nibabel(path: Path, scaled: bool) -> np.ndarray:
    """nibabel's own reading, into memory."""
    image: Any = nib.load(path)
    if scaled:
        return np.asarray(image.get_fdata(dtype=np.float32))
    voxels = np.asanyarray(image.dataobj)
    return np.array(voxels) if isinstance(voxels, np.memmap) else voxels


def clock(read: Callable[[], object]) -> float:
    """CPU-seconds of one call."""
    began = time.process_time()
    read()
    return time.process_time() - began


def compare(path: Path, scaled: bool, repeats: int) -> dict[str, Any]:
    """Ratios of CPU time, each from a pair of readings right after one another, in changing order."""
    ours, theirs = lambda: read_nifti(path), lambda: read_with_nibabel(path, scaled)
    clock(ours), clock(theirs)
    pairs = []
    for number in range(repeats):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        one, two = clock(first), clock(second)
        pairs.append((one, two) if number % 2 else (two, one))
    ratios = [a / b for a, b in pairs]
    return {
        "medseg_s": statistics.median(a for a, _ in pairs),
        "nibabel_s": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def clock_header(path: Path) -> float:
    """Milliseconds of CPU time for a header with all its checks, the median of many."""
    return 1000 * statistics.median(clock(lambda: read_nifti_header(path)) for _ in range(50))


def measure_peak(path: Path, small: Path) -> float:
    """MB that reading takes beyond the volume it gives."""
    answer = subprocess.run([sys.executable, "-c", PEAK, str(path), str(small)], capture_output=True, check=True)
    volume, peak = map(int, answer.stdout.split())
    return (peak - volume) / 1e6


def main() -> None:
    """Write the files, read them, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--voxels", default="256,256,128")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    i, j, k = map(int, arguments.voxels.split(","))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="medseg-bench-") as folder:
        small = Path(folder) / "small.nii.gz"
        nib.save(nib.Nifti1Image(make_voxels((8, 8, 8)), np.eye(4)), small)
        for name, path in write_files(Path(folder), (i, j, k)).items():
            row = compare(path, "scaled" in name, arguments.repeats)
            row |= {"header_ms": clock_header(path), "beyond_mb": measure_peak(path, small)}
            found[name] = row
            print(
                f"{name:22s} medseg {row['medseg_s']:6.3f} s  nibabel {row['nibabel_s']:6.3f} s  ratio"
                f" {row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})  header {row['header_ms']:.2f} ms"
                f"  beyond the volume {row['beyond_mb']:.0f} MB",
                flush=True,
            )
    worst = max(row["ratio"] for row in found.values())
    most = max(row["beyond_mb"] for row in found.values())
    print(
        f"worst ratio {worst:.2f} (asked: {REQUIRED_RATIO}); most beyond the volume {most:.0f} MB ({REQUIRED_MB:.0f})"
    )
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
