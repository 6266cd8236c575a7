"""The project's own files: dependencies with bounds and pins, scripts that run, no registry's address anywhere."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.source import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUNTIME = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
# DESIGN section 6.
ALL_EXTRAS = ["openvino", "onnx", "pacs", "ray", "slurm", "mlflow", "all"]
# Written in parts, so that this file does not hold what it forbids.
ADDRESSES = re.compile(
    r"py(pi)\.org|pythonhosted\.(org)|download\.py(torch)\.org|anaconda\.(org|com)|deb\.(debian)\.org"
    r"|registry\.(npmjs)\.org|--(extra-)?index-url|--trusted-(host)"
)


def pins() -> dict[str, Version]:
    lines = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()
    found: dict[str, Version] = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[canonicalize_name(name)] = Version(version)
    return found


def tracked_files() -> list[Path]:
    """Files that git tracks or would; every file outside hidden folders where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        return [path for path in ROOT.rglob("*") if path.is_file() and "/." not in path.as_posix()]
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("line", RUNTIME + [line for group in GROUPS.values() for line in group])
def test_dependency_has_a_lower_bound_and_a_pin(line: str) -> None:
    requirement = Requirement(line)
    assert any(bound.operator == ">=" for bound in requirement.specifier), "no lower bound"
    pin = pins().get(canonicalize_name(requirement.name))
    assert pin is not None, "not in scripts/constraints.txt"
    assert requirement.specifier.contains(pin)


def test_extras_are_those_of_the_design() -> None:
    assert list(EXTRAS) == ALL_EXTRAS
    lines = [Requirement(line) for name, extra in EXTRAS.items() if name != "all" for line in extra]
    assert all(any(bound.operator == ">=" for bound in line.specifier) for line in lines)
    assert Requirement(EXTRAS["all"][0]).extras == set(ALL_EXTRAS) - {"all"}


def test_pins_are_plain_versions() -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text("utf-8").splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)]
    assert wrong == []
    names = [canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line]
    assert len(names) == len(set(names))


def test_no_file_names_a_registry() -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content and ADDRESSES.search(content.decode("utf-8", "replace")):
            found.append(path.relative_to(ROOT).as_posix())
    assert found == []


@pytest.mark.parametrize(
    "script", ["scripts/setup", "scripts/demo", "scripts/test", "scripts/check", "scripts/sbom", ".ci/run"]
)
def test_script_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_judges_are_not_runtime_dependencies() -> None:
    judges = {canonicalize_name(Requirement(line).name) for line in GROUPS["bench"]}
    runtime = {canonicalize_name(Requirement(line).name) for line in RUNTIME}
    assert judges & runtime == set()
