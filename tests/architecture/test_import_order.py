"""Data flows one way: the layers that pyproject.toml lists hold, and the check that says so can fail."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT

# DESIGN section 3, the whole list; ``options`` holds the words that commands share and ``result_commands``
# and ``tool_commands`` the commands behind training and beside the pipeline, so that cli.py stays short.
PACKAGES = {
    *("core", "compute", "grids", "shapes", "io", "fingerprint", "planning", "preprocessing", "augmentation"),
    *(
        "options",
        "networks",
        "training",
        "inference",
        "postprocessing",
        "evaluation",
        "measurement",
        "reporting",
        "tools",
    ),
}
MODULES = {"__init__", "__main__", "cli", "pipeline", "result_commands", "tool_commands"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as main; main()"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core", "compute"),
        ("evaluation", "measurement"),
        ("io", "reporting"),
        ("inference", "training"),
        ("grids", "shapes"),
        ("training", "pipeline"),
        ("tools", "cli"),
    ],
)
def test_a_wrong_import_is_caught(tmp_path: Path, importer: str, imported: str) -> None:
    (tmp_path / "medseg").mkdir()
    for name in PACKAGES:
        (tmp_path / "medseg" / name).mkdir()
        (tmp_path / "medseg" / name / "__init__.py").touch()
    for name in MODULES:
        (tmp_path / "medseg" / f"{name}.py").touch()
    clean = lint_imports(tmp_path)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    # Inside a function: an import counts wherever it stands.
    (tmp_path / "medseg" / importer / "wrong.py").write_text(f"def use():\n    import medseg.{imported}\n")
    broken = lint_imports(tmp_path)
    assert broken.returncode == 1
    assert f"medseg.{importer} is not allowed to import medseg.{imported}" in " ".join(broken.stdout.split())


def test_only_the_packages_of_the_design_exist() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert found <= PACKAGES
    assert {path.stem for path in PACKAGE.glob("*.py")} <= MODULES


def test_every_package_stands_in_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = [name.strip(" ()") for layer in contracts[0]["layers"] for name in layer.split("|")]
    assert sorted(layers) == sorted(PACKAGES | MODULES - {"__init__"})
