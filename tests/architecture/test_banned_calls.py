"""Nothing that a user, a file or a model brings is unpickled, evaluated, imported from or given to a shell."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import imports, python_files, relative, tree_of

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "runpy"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("torch.load", "torch.hub.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle"),
}
ARGUMENTS = {"shell", "allow_pickle", "trust_remote_code"}  # banned with any value but the constant False
IMPORTING = {"importlib.import_module", "import_module", "find_spec", "importlib.util.spec_from_file_location"}

# File and call that may stay, each with its reason.
ALLOWED = {
    ("medseg/__init__.py", "importlib.import_module by a name"): "its own public names, from a table in the same file",
    ("medseg/core/plugins.py", "importlib.import_module by a name"): "the user's word on the command line, --plugin",
    ("medseg/inference/nnunet/checkpoint.py", "torch.load"): "weights_only, in a child process with little memory",
}


def faults(tree: ast.AST) -> Iterator[str]:
    for found in imports(tree):
        if found.top in MODULES:
            yield f"import {found.module}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in CALLS:
            yield name
        if name in IMPORTING and not (node.args and isinstance(node.args[0], ast.Constant)):
            yield f"{name} by a name"
        for keyword in node.keywords:
            harmless = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg in ARGUMENTS and not harmless:
                yield f"{name} with {keyword.arg}"


def test_no_banned_calls() -> None:
    found = {(relative(path), fault) for path in python_files("medseg", "scripts") for fault in faults(tree_of(path))}
    assert sorted(found - ALLOWED.keys()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib",
        "eval(text)",
        "exec(text)",
        "torch.load(path, weights_only=False)",
        "yaml.load(stream)",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=wanted)",
        "os.system(text)",
        "__import__(name)",
        "importlib.import_module(name)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_check_sees(line: str) -> None:
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["importlib.import_module('medseg.io')", "numpy.load(path, allow_pickle=False)", "model.eval()", "re.compile(x)"],
)
def test_the_check_lets_pass(line: str) -> None:
    assert not list(faults(ast.parse(line)))
