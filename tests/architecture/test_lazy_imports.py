"""Nothing is loaded before it is needed: help needs no numpy, tables and reports no torch."""

import json
import subprocess
import sys

import pytest

from tests.architecture.source import CLI, PACKAGE

HEAVY = ("numpy", "torch", "scipy", "numba", "SimpleITK", "nibabel", "matplotlib", "monai", "pydantic", "rich")
# DESIGN section 3: checking, evaluating, measuring, reporting and reading files never load torch.
WITHOUT_TORCH = (
    *("core", "compute", "grids", "shapes", "io", "fingerprint", "planning"),
    *("postprocessing", "evaluation", "measurement", "reporting"),
)

needs_cli = pytest.mark.skipif(not CLI.exists(), reason="medseg/cli.py is not built yet")

ALL_HELP = """
import contextlib, io
from medseg.cli import main
def show(*words):
    sys.argv = ["medseg", *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main()
    return text.getvalue()
for line in show().partition("Commands:")[2].splitlines():
    if line[:2] == "  " and line[2:3].strip():
        assert "Usage" in show(line.split()[0]), line
"""


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running ``code``."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def import_everything(*packages: str) -> str:
    """Code that imports every module of these packages of medseg."""
    modules = []
    for package in packages:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            modules.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return f"import {', '.join(['medseg', *modules])}"


def test_importing_medseg_loads_nothing() -> None:
    assert loaded_after("import medseg") & set(HEAVY) == set()


@needs_cli
def test_the_command_line_loads_neither_numpy_nor_torch() -> None:
    assert loaded_after("import medseg.cli") & {"numpy", "torch", "monai"} == set()


@needs_cli
def test_help_of_every_command_loads_neither_numpy_nor_torch() -> None:
    assert loaded_after(ALL_HELP) & {"numpy", "torch", "monai", "scipy", "matplotlib", "SimpleITK"} == set()


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_package_never_loads_torch(package: str) -> None:
    loaded = loaded_after(import_everything(package))
    assert "torch" not in loaded
    assert "numba" not in loaded or package in ("grids", "shapes", "evaluation", "measurement", "postprocessing")


def test_no_module_loads_monai_at_once() -> None:
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert {"monai", "nnunetv2", "highdicom"} & loaded_after(import_everything(*packages)) == set()
