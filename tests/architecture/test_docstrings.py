"""Public names are documented by the template of DESIGN section 7."""

import ast
import re

import pytest

from tests.architecture.source import (
    PACKAGE,
    Function,
    exported_names,
    find_definition,
    origins,
    python_files,
    relative,
    tree_of,
)


def exported_functions() -> dict[str, Function]:
    """Functions that medseg or one of its packages exports, by their full name."""
    found: dict[str, Function] = {}
    for init in PACKAGE.rglob("__init__.py"):
        places = origins(init)
        for name in exported_names(init):
            definition = find_definition(
                places.get(name, ".".join(init.parent.relative_to(PACKAGE.parent).parts)), name
            )
            if definition is not None and isinstance(definition[1], Function):
                found[f"{definition[0]}.{name}"] = definition[1]
    return found


def parameters(function: Function) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [argument.arg for argument in named]


def faults(function: Function) -> list[str]:
    """What a docstring lacks; a function of at most one parameter may have a single sentence."""
    text = ast.get_docstring(function)
    if not text:
        return ["no docstring"]
    found = [] if text.partition("\n\n")[0].rstrip().endswith((".", "?")) else ["the first sentence has no full stop"]
    names = parameters(function)
    if len(names) <= 1:
        return found
    described = re.search(r"^Args:\n(.*?)(?=^\w+:|\Z)", text, re.MULTILINE | re.DOTALL)
    if described is None:
        found.append("no Args:")
    else:
        found += [f"{name} is not described" for name in names if not re.search(rf"\b{name}\b", described[1])]
    returns_nothing = function.returns is not None and ast.unparse(function.returns) in ("None", "Never", "NoReturn")
    if not returns_nothing and not re.search(r"^(Returns|Yields):$", text, re.MULTILINE):
        found.append("no Returns:")
    return found


@pytest.mark.parametrize(("name", "function"), exported_functions().items(), ids=exported_functions().keys())
def test_public_function_follows_the_template(name: str, function: Function) -> None:
    assert faults(function) == []


def test_everything_public_has_a_docstring() -> None:
    missing = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in python_files("medseg")
        for node in tree_of(path).body
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert missing == []
    assert [relative(path) for path in python_files("medseg") if not ast.get_docstring(tree_of(path))] == []


GOOD = '"""One.\n\n    Args:\n        a: first.\n        b: second.\n    Returns:\n        the sum.\n    """'


@pytest.mark.parametrize(
    ("docstring", "fault"),
    [
        (GOOD, None),
        ('"""One."""', "no Args:"),
        (GOOD.replace("b: second", "c: second"), "b is not described"),
        (GOOD.replace("Returns:", "Gives:"), "no Returns:"),
        (GOOD.replace("One.", "One"), "the first sentence has no full stop"),
        ("pass", "no docstring"),
    ],
)
def test_the_check_sees(docstring: str, fault: str | None) -> None:
    function = ast.parse(f"def add(a: int, b: int) -> int:\n    {docstring}\n    return a + b\n").body[0]
    assert isinstance(function, Function)
    assert fault in faults(function) if fault else faults(function) == []
