"""Plugins are imported by the user's word alone, and known by the hash of their sources."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medseg.core.errors import PlanError
from medseg.core.plugins import find_plugin, load_plugins


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder of its own; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_module_of_the_working_folder_is_imported_once_and_described() -> None:
    text = "__version__ = '1.2'\ncalls = []\n"
    Path("plug_one.py").write_text(text)
    first, again = load_plugins(["plug_one", "plug_one"]), load_plugins(["plug_one"])
    assert first == again
    assert (first[0].name, first[0].version) == ("plug_one", "1.2")
    assert first[0].sha256 == hashlib.sha256(f"plug_one.py {len(text)}\n{text}".encode()).hexdigest()
    assert find_plugin("plug_one") == first[0]


def test_a_package_is_hashed_with_all_its_sources_wherever_it_stands(tmp_path: Path) -> None:
    hashes = []
    for place, inner in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        folder = tmp_path / place / "plug_pack"
        (folder / "inner").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "inner" / "part.py").write_text(inner)
        (folder / "notes.txt").write_text(place)  # no source
        sys.path.append(str(folder.parent))
        hashes.append(load_plugins(["plug_pack"])[0].sha256)
        del sys.modules["plug_pack"]
        sys.path.remove(str(folder.parent))
        sys.path_importer_cache.clear()
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_nobody_imported_is_not_imported_to_be_found() -> None:
    Path("plug_two.py").write_text("raise RuntimeError('imported')")
    assert find_plugin("plug_two") is None
    assert "plug_two" not in sys.modules


def test_an_installed_package_comes_before_the_working_folder() -> None:
    Path("numpy.py").write_text("raise RuntimeError('from the working folder')")
    assert load_plugins(["numpy"])[0].version is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\nraise ValueError('no luck')\n", r"ValueError: no luck"),
        ("import no_such_library\n", r"ModuleNotFoundError: No module named 'no_such_library'"),
        ("x = (\n", r"SyntaxError"),
        ("raise SystemExit(3)\n", r"SystemExit: 3"),
        ("import json\njson.loads('{')\n", r"JSONDecodeError"),
    ],
)
def test_a_plugin_that_raises_is_named_with_its_file(content: str, message: str) -> None:
    Path("plug_bad.py").write_text(content)
    with pytest.raises(PlanError, match=message) as caught:
        load_plugins(["plug_bad"])
    text = str(caught.value)
    assert "plug_bad.py" in text
    assert "'plug_bad' cannot be imported" in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["plug_missing", "plug_missing.inner", "os.no_such"])
def test_a_plugin_that_is_not_there_is_said_with_the_remedy(name: str) -> None:
    with pytest.raises(PlanError, match=rf"there is no module '{name}'.*Install it"):
        load_plugins([name])


@pytest.mark.parametrize("name", ["plug.py/x", "", "./plug", "a-b", "..x"])
def test_words_that_are_no_module_are_refused(name: str) -> None:
    with pytest.raises(PlanError, match="not the name of a module"):
        load_plugins([name])
