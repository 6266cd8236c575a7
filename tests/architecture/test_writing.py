"""Every file is written through core/atomic.py: nothing else opens one for writing, moves it or lets libraries."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import python_files, relative, tree_of

# What libraries write by themselves, whatever they are called on.
METHODS = {
    *("write_text", "write_bytes", "touch", "rename", "replace", "symlink_to", "hardlink_to", "truncate"),
    *("tofile", "dump", "save", "savez", "savez_compressed", "savetxt", "savefig", "to_csv", "to_json", "to_file"),
    *("WriteImage", "WriteTransform", "imwrite", "imsave", "serialize", "save_file", "serialize_file", "save_model"),
    *("copy", "copy2", "copyfile", "copytree", "move", "link", "extract", "extractall", "FileHandler", "memmap"),
    *("TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory", "SpooledTemporaryFile", "mkstemp", "mkdtemp"),
    *("SummaryWriter", "EventFileWriter", "FileIO", "mkfifo"),
}
# Of these names, what is no file's: records and strings have methods so called.
HARMLESS = {
    "replace": lambda call: len(call.args) != 1 or bool(call.keywords),  # of text, of dataclasses
    "copy": lambda call: ast.unparse(call.func).partition(".")[0] not in ("shutil", "os"),
    "dump": lambda call: ast.unparse(call.func).partition(".")[0] not in ("json", "pickle", "numpy", "np", "yaml"),
    "truncate": lambda call: ast.unparse(call.func).partition(".")[0] != "os",
    "to_json": lambda call: not call.args,
    "save": lambda call: not call.args,  # a function of ours
}
URL_ARGUMENTS = {"urlpath"}
# A path that ``atomic_path`` gave, or a stream (in memory, or of ``atomic_open``), by the names they have everywhere.
GIVEN = {"temporary", "stream"}

# File and call that may stay, each with its reason.
LIBRARY_SCRATCH = "a folder of the system's for temporary files, which goes with the block"
ALLOWED = {
    **dict.fromkeys(
        (("medseg/core/locks.py", call) for call in ("claim.open", "os.open")),
        "a lock file holds no result",
    ),
    ("medseg/compute/child.py", "os.fdopen"): "a child's standard output",
    ("medseg/inference/ensemble.py", "tempfile.TemporaryFile"): "room for sums, without a name",
    ("medseg/inference/engines/openvino_engine.py", "tempfile.TemporaryDirectory"): LIBRARY_SCRATCH,
    ("medseg/inference/engines/openvino_engine.py", "openvino.serialize"): LIBRARY_SCRATCH,
    ("medseg/inference/nnunet/find.py", "tempfile.TemporaryDirectory"): LIBRARY_SCRATCH,
    ("medseg/inference/nnunet/archive.py", "target.open"): LIBRARY_SCRATCH,
    ("medseg/inference/nnunet/checkpoint.py", "tempfile.TemporaryDirectory"): LIBRARY_SCRATCH,
    ("medseg/inference/nnunet/checkpoint.py", "save_file"): LIBRARY_SCRATCH,
    ("medseg/inference/nnunet/importing.py", "staging.rename"): "a folder that is whole, to its place",
    ("medseg/preprocessing/store.py", "os.link"): "a second name of a whole file",
    ("medseg/tools/doctor.py", "tempfile.TemporaryDirectory"): "a self-test's scratch",
    ("medseg/tools/doctor.py", "tempfile.TemporaryFile"): "whether a folder can be written",
}


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        short = name.rpartition(".")[2] if isinstance(node.func, ast.Attribute) else name
        if any(isinstance(argument, ast.Name) and argument.id in GIVEN for argument in node.args):
            continue
        if short in ("open", "fdopen") and _opens_for_writing(node, name):
            yield name
        if short in METHODS and not _is_harmless(node, name, short):
            yield name
        if any(keyword.arg in URL_ARGUMENTS for keyword in node.keywords):
            yield name


def _opens_for_writing(call: ast.Call, name: str) -> bool:
    if name in ("os.open", "io.open_code"):
        return not ast.unparse(call).count("O_RDONLY")
    place = 1 if name in ("open", "io.open", "gzip.open", "os.fdopen", "tarfile.open") else 0
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args[place : place + 1]
    if not modes:
        return False
    mode = modes[0]
    if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
        return bool(set(mode.value) & set("wax+"))
    return place == 1  # ``X.open(name)`` opens a picture, an archive's entry, ...


def _is_harmless(call: ast.Call, name: str, short: str) -> bool:
    if name in (f"atomic.{short}", short) and short in ("write_text", "write_bytes"):
        return True  # of core/atomic.py, by whichever name
    return short in HARMLESS and HARMLESS[short](call)


def test_files_are_written_in_one_place() -> None:
    found = {
        (relative(path), fault)
        for path in python_files("medseg")
        if relative(path) != "medseg/core/atomic.py"
        for fault in faults(tree_of(path))
    }
    assert sorted(found - ALLOWED.keys()) == []
    assert sorted(ALLOWED.keys() - found) == [], "no longer there"


@pytest.mark.parametrize(
    "line",
    [
        "path.open('w')",
        "path.open(mode='ab')",
        "open(path, 'r+')",
        "open(path, mode)",
        "gzip.open(path, 'wb')",
        "zipfile.ZipFile(path).extractall(folder)",
        "path.write_text('a')",
        "(folder / 'a').write_bytes(b'')",
        "np.save(path, array)",
        "torch.save(content, path)",
        "SimpleITK.WriteImage(image, str(path))",
        "path.replace(other)",
        "path.rename(other)",
        "shutil.copy(a, b)",
        "json.dump(content, path.open('w'))",
        "figure.savefig(path)",
        "blosc2.asarray(array, urlpath='a')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "logging.FileHandler(path)",
    ],
)
def test_the_check_sees(line: str) -> None:
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "path.open()",
        "path.open('rb')",
        "open(path)",
        "Image.open(path)",
        "archive.open(entry)",
        "text.replace('a', 'b')",
        "replace(record, a=1)",
        "array.copy()",
        "atomic.write_text(path, 'a')",
        "save_file(tensors, temporary)",
        "torch.save(content, stream)",
        "os.open(path, os.O_RDONLY)",
        "record.to_json()",
    ],
)
def test_the_check_lets_pass(line: str) -> None:
    assert not list(faults(ast.parse(line)))
