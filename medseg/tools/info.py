"""What runs here: ``medseg info`` tells versions, processors and memory, for a bug report or a lab book."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from medseg.core.manifest import StepResult

BYTES_PER_GB = 10**9


@dataclass(frozen=True)
class Package:
    """A library that medseg uses.

    Args:
        requirement: its name and the versions that will do: ``torch>=2.10``.
        extra: the extra that brings it; empty where medseg never goes without.
        version: what is installed; None where it is missing.
    """

    requirement: Requirement
    extra: str
    version: str | None

    @property
    def is_usable(self) -> bool:
        """Whether a version that will do is installed."""
        return self.version is not None and self.requirement.specifier.contains(self.version, prereleases=True)


def info() -> StepResult:
    """Versions of medseg and its libraries, devices, memory and disk of this machine.

    Returns:
        no outcomes; a line for each, and the same for machines.
    """
    packages = list_packages()
    content = {
        "medseg": _read_version(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {package.requirement.name: package.version for package in packages},
        "extras": sorted(name_extras(packages)),
        **describe_machine(),
    }
    return StepResult([], _describe(content), content)


def list_packages() -> list[Package]:
    """The libraries that the installed medseg asks for, those of its extras behind them.

    Returns:
        by extra and name, one of several extras once for each; empty where medseg runs without being installed.
    """
    found = []
    for line in _read_requirements():
        requirement = Requirement(line)
        extra = "" if requirement.marker is None else _read_extra(str(requirement.marker))
        if requirement.name != "medseg":  # the extra `all` asks for the other extras
            found.append(Package(requirement, extra, _find_version(requirement.name)))
    return sorted(found, key=lambda package: (package.extra, package.requirement.name.lower()))


def name_extras(packages: list[Package]) -> set[str]:
    """The extras of which every library is installed."""
    extras = {package.extra for package in packages if package.extra}
    return extras - {package.extra for package in packages if not package.is_usable}


def describe_machine() -> dict[str, Any]:
    """Processor cores, memory, free disk and GPUs of this machine; sizes in 10^9 bytes."""
    import torch

    from medseg.compute.devices import choose_precision, count_cores
    from medseg.compute.memory import read_free_bytes

    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        gpus.append({"name": name, "free_gb": free / BYTES_PER_GB, "total_gb": total / BYTES_PER_GB})
    return {
        "cores": count_cores(),
        "cpu_precision": str(choose_precision("auto", torch.device("cpu"))).removeprefix("torch."),
        "free_memory_gb": read_free_bytes() / BYTES_PER_GB,
        "free_disk_gb": shutil.disk_usage(Path.cwd()).free / BYTES_PER_GB,
        "cuda": torch.version.cuda,
        "gpus": gpus,
    }


def _describe(content: dict[str, Any]) -> str:
    lines = [
        f"medseg {content['medseg']}, Python {content['python']}, {content['system']}, {sys.executable}",
        f"{content['cores']} processor cores, trained on in {content['cpu_precision']}; "
        f"{content['free_memory_gb']:.1f} GB of memory free; {content['free_disk_gb']:.0f} GB of disk free here",
    ]
    lines += [f"GPU: {gpu['name']}, {gpu['free_gb']:.1f} of {gpu['total_gb']:.1f} GB free" for gpu in content["gpus"]]
    if not content["gpus"]:
        built = f"built for CUDA {content['cuda']}" if content["cuda"] else "built without CUDA"
        lines.append(f"no GPU that PyTorch can use ({built})")
    lines.append(f"extras: {', '.join(content['extras']) or 'none'}")
    lines += [f"  {name} {number or 'missing'}" for name, number in content["packages"].items()]
    return "\n".join(lines)


def _read_version() -> str:
    from medseg import __version__

    return __version__


def _read_requirements() -> list[str]:
    try:
        return requires("medseg") or []
    except PackageNotFoundError:
        return []


def _read_extra(marker: str) -> str:
    """``extra == "onnx"`` to ``onnx``; other markers, of the system, to nothing."""
    _, sign, name = marker.partition("extra ==")
    return name.strip().strip("\"'") if sign else ""


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
