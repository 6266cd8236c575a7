"""Whether medseg works here: ``medseg doctor`` tries what a run needs, and says what to do about what fails."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.compute.devices import BYTES_PER_GB
from medseg.core.errors import MedsegError, ModelError, ResourceError
from medseg.core.manifest import CaseOutcome, StepResult
from medseg.tools.info import list_packages, name_extras

if TYPE_CHECKING:
    from medseg.inference import Model

# A small U-Net and one scan; what takes more says so itself, before it starts.
LEAST_MEMORY_GB = 2.0
LEAST_DISK_GB = 2.0
LARGEST_PRODUCT_ERROR = 1e-4  # of a product of 256 x 256 normal numbers in float32; TF32 would give 1e-2


def doctor(model: str | Path | None = None, *, device: str = "auto") -> StepResult:
    """Try everything that a run needs on this machine.

    Args:
        model: a model's folder, whose hashes and self-test are checked too; None for none.
        device: where networks shall run: ``auto``, ``cpu``, ``cuda``.
    Returns:
        an outcome per check, failed with a remedy where something is wrong; one check never stops the others.
    """
    checks: dict[str, Callable[[], str]] = {
        "packages": check_packages,
        "memory": check_memory,
        "disk": check_disk,
        "device": lambda: check_device(device),
        "files": check_files,
        "compiled code": check_compiled_code,
    }
    if model is not None:
        checks["model"] = lambda: check_model(Path(model), device)
    outcomes, said = [], {}
    for name, check in checks.items():
        try:
            said[name] = check()
            outcomes.append(CaseOutcome(name, "done"))
        except Exception as error:  # whatever is broken here, the other checks are still worth knowing
            outcomes.append(_name_fault(name, error))
    bad = {outcome.case: outcome for outcome in outcomes if outcome.status != "done"}
    lines = [f"{name}: {'FAILED: ' + _say(bad[name]) if name in bad else said[name]}" for name in checks]
    lines.append(f"{len(bad)} of {len(checks)} checks failed" if bad else f"all {len(checks)} checks passed")
    return StepResult(outcomes, "\n".join(lines), {"checks": said})


def check_packages() -> str:
    """Raises MedsegError naming the libraries that are missing or too old; else which extras there are."""
    packages = list_packages()
    if not packages:
        return "medseg runs from its folder and is not installed; its libraries' versions are not checked"
    bad = [package for package in packages if not package.extra and not package.is_usable]
    if bad:
        listed = ", ".join(f"{package.requirement} ({package.version or 'missing'})" for package in bad)
        raise ResourceError(f"not as medseg needs them: {listed}", remedy="Install medseg anew: pip install -U medseg")
    needed = sum(not package.extra for package in packages)
    return f"all {needed} libraries are there; extras: {', '.join(sorted(name_extras(packages))) or 'none'}"


def check_memory() -> str:
    """Raises ResourceError where less memory is free than the smallest run takes."""
    from medseg.compute.memory import read_free_bytes

    free_gb = read_free_bytes() / BYTES_PER_GB
    if free_gb < LEAST_MEMORY_GB:
        raise ResourceError(
            f"{free_gb:.1f} GB are free, expected {LEAST_MEMORY_GB:g} at least",
            remedy="Close other programs, or raise the limit of the container or batch job",
        )
    return f"{free_gb:.1f} GB free"


def check_disk() -> str:
    """Raises ResourceError where the present folder cannot be written or is nearly full."""
    here = Path.cwd()
    with tempfile.TemporaryFile(dir=here) as stream:
        stream.write(b"medseg")
    status = os.statvfs(here)
    free_gb = status.f_bavail * status.f_frsize / BYTES_PER_GB
    if free_gb < LEAST_DISK_GB:
        raise ResourceError(
            f"{free_gb:.1f} GB are free, expected {LEAST_DISK_GB:g} at least", file=here,
            remedy="Make room, or work in another folder",
        )  # fmt: skip
    return f"{free_gb:.0f} GB free in {here}"


def check_device(name: str) -> str:
    """Raises ResourceError where a device is not there or multiplies matrices wrongly."""
    from medseg.compute.devices import choose_device, count_cores, measure_product_error, name_precision

    device = choose_device(name)
    error = measure_product_error(device)
    if not error <= LARGEST_PRODUCT_ERROR:
        raise ResourceError(
            f"{device} multiplies matrices with an error of {error:.2g}, expected at most {LARGEST_PRODUCT_ERROR:g}",
            remedy="Update its driver and PyTorch, or use --device cpu",
        )
    return f"{device} computes rightly; training runs in {name_precision(device)}; {count_cores()} processor cores"


def check_files() -> str:
    """Raises MedsegError where a mask and an image do not come back from the disk as they were written."""
    from medseg.core.geometry import Geometry
    from medseg.core.volume import Segmentation
    from medseg.io import read_segmentation, write_segmentation

    geometry = Geometry.from_spacing((5, 6, 7), (0.7, 0.8, 3.0))
    given = Segmentation((np.arange(210).reshape(5, 6, 7) % 3).astype(np.uint8), geometry)
    with tempfile.TemporaryDirectory(prefix="medseg_doctor_") as folder:
        path = Path(folder) / "mask.nii.gz"
        write_segmentation(path, given)
        found = read_segmentation(path)
    if not (np.array_equal(found.array, given.array) and np.allclose(found.geometry.affine, geometry.affine)):
        raise ResourceError("a mask did not come back from the disk as it was written", file=path)
    return f"masks are written and read in {tempfile.gettempdir()}"


def check_compiled_code() -> str:
    """Raises ResourceError where the compiled kernels of surface metrics give another number than the closed form."""
    from medseg.evaluation import measure_hd

    box, moved = np.zeros((2, 16, 12, 12), bool)
    box[3:9, 3:9, 3:9] = True
    moved[6:12, 3:9, 3:9] = True
    found = measure_hd(moved, box, spacing_mm=(0.5, 1.0, 2.0))
    expected = 1.5  # three voxels of half a millimetre
    if not abs(found - expected) <= 1e-9:
        raise ResourceError(
            f"two boxes {expected:g} mm apart are measured {found} mm apart",
            remedy="Install numba anew: pip install --force-reinstall numba",
        )
    return "kernels are compiled and measure rightly"


def check_model(folder: Path, device: str) -> str:
    """Raises ModelError where a model is damaged, cannot be loaded, or answers otherwise than where it was made."""
    from medseg.compute.devices import choose_device
    from medseg.inference import open_model
    from medseg.inference.self_test import run_self_test

    model = open_model(folder)
    where = choose_device(device)
    answers = list(run_self_test(model, where))
    bad = [answer for answer in answers if not answer.is_right]
    if bad:
        raise ModelError(
            f"on {where}, {bad[0].line()}", code="self_test", file=folder,
            remedy="Do not use this device with this model; try --device cpu, another PyTorch or driver",
        )  # fmt: skip
    if not answers:
        count = _load_networks(model, where)
        load = "1 network loads" if count == 1 else f"{count} networks load"
        return f"every hash is right; {load}; {folder} brings no self-test"
    networks = "1 network answers" if len(answers) == 1 else f"{len(answers)} networks answer"
    return f"every hash is right; {networks} on {where} as where the model was made"


def _load_networks(model: Model, device: Any) -> int:
    """How many networks a model has, each loaded but those of a user's own function, which no folder holds."""
    from medseg.inference import load_networks
    from medseg.networks import is_object

    count = 0
    for member in model.record.members:
        if not is_object(model.plan.configuration(member.configuration).network):
            count += len(load_networks(model, member, member.folds, device))
    return count


def _name_fault(name: str, error: Exception) -> CaseOutcome:
    reason = error.reason if isinstance(error, MedsegError) else f"{type(error).__name__}: {error}"
    remedy = (error.remedy or "") if isinstance(error, MedsegError) else ""
    file = error.file if isinstance(error, MedsegError) else None
    return CaseOutcome(name, "failed", name.replace(" ", "_"), (file,) if file else (), reason, remedy)


def _say(outcome: CaseOutcome) -> str:
    return ", ".join(part for part in (*outcome.inputs, outcome.reason, outcome.remedy) if part)
