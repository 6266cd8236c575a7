"""Commands are the pipeline's functions, then the tools: the same names in the same order."""

import ast
import re
import subprocess
import sys

import pytest

import medseg
from tests.architecture.source import (
    CLI,
    PACKAGE,
    PIPELINE,
    Function,
    exported_names,
    find_definition,
    origins,
    tree_of,
)

INIT = PACKAGE / "__init__.py"
# The pipeline of DESIGN section 2; a public name belongs to the stage whose package defines it.
STAGES = (
    *("core", "io", "fingerprint", "planning", "preprocessing", "augmentation", "networks", "training"),
    *("inference", "postprocessing", "evaluation", "measurement", "reporting", "pipeline"),
)

needs_commands = pytest.mark.skipif(not (CLI.exists() and PIPELINE.exists()), reason="medseg/cli.py is not built yet")
needs_names = pytest.mark.skipif(not exported_names(INIT), reason="medseg/__init__.py exports nothing yet")


def run_medseg(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from medseg.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def listed_commands(help_text: str) -> list[str]:
    """The commands in the order in which ``medseg --help`` lists them."""
    section = help_text.partition("Commands:\n")[2]
    return re.findall(r"^ {2}([a-z][a-z0-9-]*)(?: {2}|$)", section, re.MULTILINE)


def pipeline_steps() -> list[str]:
    """The public functions of medseg/pipeline.py as commands, in the order in which they stand there."""
    return [
        node.name.replace("_", "-")
        for node in tree_of(PIPELINE).body
        if isinstance(node, Function) and not node.name.startswith("_")
    ]


def tools() -> set[str]:
    found = (path for path in (PACKAGE / "tools").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    return {path.stem.replace("_", "-") for path in found if not path.stem.startswith("_")}


def test_listed_commands_are_read_from_help() -> None:
    text = "Options:\n  --help  Show.\n\nCommands:\n  check          All\n                 of it.\n  import-nnunet  A\n"
    assert listed_commands(text) == ["check", "import-nnunet"]


@needs_commands
def test_help_lists_the_pipeline_first_and_in_order() -> None:
    result = run_medseg("--help")
    assert result.returncode == 0, result.stderr
    commands = listed_commands(result.stdout)
    steps = pipeline_steps()
    assert commands[: len(steps)] == steps
    assert set(commands[len(steps) :]) == tools()
    assert len(commands) == len(set(commands))


@needs_commands
def test_every_command_explains_itself() -> None:
    for command in listed_commands(run_medseg("--help").stdout):
        result = run_medseg(command, "--help")
        assert result.returncode == 0, result.stderr
        assert f"medseg {command}" in result.stdout or f" {command} " in result.stdout


@needs_commands
def test_the_command_line_has_no_logic() -> None:
    loops = [node.lineno for node in ast.walk(tree_of(CLI)) if isinstance(node, ast.For | ast.While | ast.AsyncFor)]
    assert loops == []


@needs_commands
def test_wrong_usage_ends_with_2() -> None:
    result = run_medseg("no-such-command")
    assert result.returncode == 2
    assert "no-such-command" in result.stderr
    assert result.stdout == ""


@needs_names
def test_public_names_are_there() -> None:
    names = exported_names(INIT)
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(medseg, name) is not None
    assert set(names) <= set(dir(medseg))
    absent = "no_such_name"
    with pytest.raises(AttributeError, match=absent):
        getattr(medseg, absent)


@needs_names
def test_public_names_are_in_pipeline_order() -> None:
    places = origins(INIT)
    stages = []
    for name in exported_names(INIT):
        definition = find_definition(places[name], name) if name in places else None
        if definition is not None:
            stages.append(STAGES.index(definition[0].split(".")[1]))
    assert stages == sorted(stages), f"the stages of the public names are {[STAGES[stage] for stage in stages]}"
