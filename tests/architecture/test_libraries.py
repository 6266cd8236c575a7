"""Which library is imported where: readers in io, torch where networks run, and nothing that is not declared."""

import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import ROOT, imports, python_files, relative, tree_of

# DESIGN section 3: a library and the only places that may import it.
PLACES = {
    "torch": ("grids", "preprocessing", "augmentation", "networks", "training", "inference", "compute"),
    "monai": ("networks", "training", "inference", "augmentation"),
    "nibabel": ("io",),
    "pydicom": ("io",),
    "highdicom": ("io",),
    "SimpleITK": ("io", "grids/registration/"),
    "pynetdicom": ("tools/listen/",),
    "dicomweb_client": ("tools/listen/",),
    "typer": ("cli.py", "options/", "result_commands.py", "tool_commands.py"),
}
ONLY_IN_FUNCTIONS = {  # the library, and where: importing it costs seconds that most uses do not need
    "monai": "medseg/",
    "torch": "medseg/grids/",
}
# A module's name and the package that brings it, where the two differ.
BROUGHT_BY = {"PIL": "pillow", "cc3d": "connected-components-3d", "SimpleITK": "simpleitk", "pynetdicom": "pynetdicom"}

FILES = python_files("medseg")


@pytest.mark.parametrize("library", PLACES)
def test_library_is_imported_only_where_it_belongs(library: str) -> None:
    places = tuple(f"medseg/{place}" for place in PLACES[library])
    wrong = [
        f"{relative(path)}:{found.line}"
        for path in FILES
        for found in imports(tree_of(path))
        if found.top == library and not relative(path).startswith(places)
    ]
    assert wrong == []


@pytest.mark.parametrize("library", ONLY_IN_FUNCTIONS)
def test_library_is_imported_only_inside_functions(library: str) -> None:
    wrong = [
        f"{relative(path)}:{found.line}"
        for path in FILES
        if relative(path).startswith(ONLY_IN_FUNCTIONS[library])
        for found in imports(tree_of(path))
        if found.top == library and found.at_import
    ]
    assert wrong == []


def test_every_imported_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    known = sys.stdlib_module_names | {"medseg"}
    undeclared = {
        f"{found.top} in {relative(path)}:{found.line}"
        for path in FILES
        for found in imports(tree_of(path))
        if found.top not in known and canonicalize_name(BROUGHT_BY.get(found.top, found.top)) not in declared
    }
    assert undeclared == set()
