"""The source tree as syntax trees, for the tests of its rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "medseg"
PIPELINE = PACKAGE / "pipeline.py"
CLI = PACKAGE / "cli.py"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported module, absolute.

    Args:
        at_import: whether it is loaded as soon as the file is: not inside a function, not under TYPE_CHECKING.
    """

    module: str
    line: int
    at_import: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def python_files(*folders: str) -> list[Path]:
    """Every Python file in these folders of the repository, scripts without an ending left out."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def imports(tree: ast.AST) -> list[Import]:
    """Every import of a file, wherever it stands in it."""
    return list(_imports(tree, at_import=True))


def _imports(node: ast.AST, at_import: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, at_import) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.module or "", node.lineno, at_import)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from _imports(statement, at_import=False)
        for statement in node.orelse:
            yield from _imports(statement, at_import)
        return
    inside = at_import and not isinstance(node, Function | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, inside)


def exported_names(init: Path) -> list[str]:
    """The names in a package's ``__all__``, in order; empty where it has none."""
    for node in tree_of(init).body:
        if isinstance(node, ast.Assign) and "__all__" in [ast.unparse(target) for target in node.targets]:
            return list(ast.literal_eval(node.value))
    return []


def origins(init: Path) -> dict[str, str]:
    """For each name that a package imports ``from`` a module, under TYPE_CHECKING too: that module."""
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(tree_of(init))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def find_definition(module: str, name: str) -> tuple[str, Function | ast.ClassDef] | None:
    """Where a name is defined, following imports through packages: (module, its syntax tree).

    Returns None where it is neither a function nor a class of medseg.
    """
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return None
    for node in tree_of(file).body:
        if isinstance(node, Function | ast.ClassDef) and node.name == name:
            return module, node
    onward = origins(file).get(name)
    return find_definition(onward, name) if onward and onward.startswith("medseg") else None
