"""What runs here: ``medseg info`` tells versions, processors and memory, for a bug report or a lab book."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from medseg.core.manifest import StepResult


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
    from medseg.compute.devices import BYTES_PER_GB, count_cores, list_gpus, name_cuda, name_precision
    from medseg.compute.memory import read_free_bytes

    return {
        "cores": count_cores(),
        "cpu_precision": name_precision("cpu"),
        "free_memory_gb": read_free_bytes() / BYTES_PER_GB,
        "free_disk_gb": shutil.disk_usage(Path.cwd()).free / BYTES_PER_GB,
        "cuda": name_cuda(),
        "gpus": [asdict(gpu) for gpu in list_gpus()],
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
