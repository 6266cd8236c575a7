"""Files and functions stay small enough to be read in one go, and names say what is inside."""

import ast
from pathlib import Path

import pytest

from tests.architecture.source import Function, functions, python_files, relative, tree_of

LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60  # of its body, the docstring apart
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}


def body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_body_lines_leave_the_docstring_out() -> None:
    function = next(
        functions(ast.parse('def f(\n    a,\n):\n    """One.\n\n    Two.\n    """\n    b = a\n    return b\n'))
    )
    assert body_lines(function) == 2


@pytest.mark.parametrize("folder", ["medseg", "scripts", "tests"])
def test_files_are_short(folder: str) -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in python_files(folder)}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE_LINES} == {}


@pytest.mark.parametrize("folder", ["medseg", "scripts", "tests"])
def test_functions_are_short(folder: str) -> None:
    long = [
        f"{relative(path)}:{function.lineno} {function.name} has {body_lines(function)} lines"
        for path in python_files(folder)
        for function in functions(tree_of(path))
        if body_lines(function) > LONGEST_FUNCTION_LINES
    ]
    assert long == []


def test_names_say_what_is_inside() -> None:
    def parts(path: Path) -> set[str]:
        return {Path(part).stem for part in Path(relative(path)).parts}

    files = python_files("medseg", "scripts", "tests")
    assert [relative(path) for path in files if parts(path) & NAMES_THAT_SAY_NOTHING] == []
