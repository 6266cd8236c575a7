"""Plugins: modules of the user's own that enter networks, losses or augmentations into medseg's tables."""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from medseg.core.errors import PlanError
from medseg.core.records import Record

# What a plugin's work depends on: its sources, and what a compiler made of them.
SOURCE_ENDINGS = (".py", ".so", ".pyd")


class Plugin(Record):
    """A plugin as it was when a model was trained with it.

    Args:
        name: of the module, as ``--plugin`` has it.
        version: its ``__version__``, else its package's; None where it has neither.
        sha256: of its source files, with their names.
    """

    name: str
    version: str | None
    sha256: str

    def line(self) -> str:
        """Name, version and the beginning of the hash, for messages."""
        return f"{self.name} {self.version or 'without a version'} ({self.sha256[:12]})"


def load_plugins(names: Iterable[str]) -> tuple[Plugin, ...]:
    """Import modules that the user named; never call it with names that were read from a file.

    Args:
        names: of modules, such as ``my_package`` or ``my_package.losses``; also of those in the working folder.
    Returns:
        each with its version and hash, in the same order, each once.
    Raises:
        PlanError: a module is not there, or raises while it is imported; the place is named.
    """
    return tuple(_describe(_import(name)) for name in dict.fromkeys(names))


def find_plugin(name: str) -> Plugin | None:
    """The plugin of a name as it is loaded now.

    Args:
        name: of a module.
    Returns:
        the plugin; None where no such module was imported, which is not done here.
    """
    module = sys.modules.get(name)
    return None if module is None else _describe(module)


def _import(name: str) -> ModuleType:
    if not name or not all(part.isidentifier() for part in name.split(".")):
        remedy = "Give a module's name, such as my_plugin for my_plugin.py"
        raise PlanError(f"--plugin {name!r} is not the name of a module", code="plugin", remedy=remedy)
    folder = str(Path.cwd())
    if folder not in sys.path:  # last, so that no file that lies about there is taken for an installed package
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            remedy = "Install it, or start in the folder that holds it"
            raise PlanError(f"there is no module {name!r} for --plugin", code="plugin", remedy=remedy) from None
        raise _explain(name, error) from error
    except (Exception, SystemExit) as error:
        raise _explain(name, error) from error


def _explain(name: str, error: BaseException) -> PlanError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    # The last place of the plugin's own; its faults often show within a library.
    own = [frame for frame in frames[1:] if name.partition(".")[0] in frame.filename] or frames
    reason = f"the plugin {name!r} cannot be imported: {type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return PlanError(reason, code="plugin", file=error.filename, remedy="Correct it")
    return PlanError(reason, code="plugin", file=f"{own[-1].filename}:{own[-1].lineno}", remedy="Correct it")


def _describe(module: ModuleType) -> Plugin:
    name = module.__name__
    stated = getattr(module, "__version__", None)
    if stated is None:
        try:
            stated = version(name.partition(".")[0])
        except PackageNotFoundError:
            stated = None
    return Plugin(name=name, version=None if stated is None else str(stated), sha256=_hash_sources(module))


def _hash_sources(module: ModuleType) -> str:
    digest = hashlib.sha256()
    for name, path in _list_sources(module):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _list_sources(module: ModuleType) -> Sequence[tuple[str, Path]]:
    """A package's files below its folders, or the module's one file; each with the name that it has in there."""
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    found = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*")]
    if not folders and getattr(module, "__file__", None):
        path = Path(str(module.__file__))
        found = [(path.name, path)]
    return sorted((name, path) for name, path in found if path.suffix in SOURCE_ENDINGS and path.is_file())
